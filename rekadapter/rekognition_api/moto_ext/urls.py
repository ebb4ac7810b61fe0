"""Where moto listens for Rekognition: every endpoint that botocore may use."""

from __future__ import annotations

from rekadapter.rekognition_api.moto_ext.responses import CollectionsResponse

url_bases = [
    r"https?://rekognition(?:-fips)?\.([^./]+)\.amazonaws\.com",
    r"https?://rekognition(?:-fips)?\.([^./]+)\.api\.aws",
]
url_paths = {"{0}/$": CollectionsResponse.dispatch}
