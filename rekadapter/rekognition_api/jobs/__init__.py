"""Work that outlives its request: analysis of stored video, and stream processors."""
