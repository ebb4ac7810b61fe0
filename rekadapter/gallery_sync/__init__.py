"""Two backends' galleries brought to the same roster, whichever way an application switches.

Rekognition gives out no templates and keeps no photographs, and templates of one model mean nothing
to another. So nothing is copied from gallery to gallery: whoever has a photograph in the roster is
enrolled where they are missing, and everybody else is listed. ``plan_sync`` says what is to be
done, ``carry_out`` does it; a run that was cut short is taken up by planning again.
"""

from rekadapter.gallery_sync.carrying_out import (
    FailedPhotograph,
    NotDeleted,
    SideOutcome,
    SyncedPhotograph,
    SyncOutcome,
    carry_out,
)
from rekadapter.gallery_sync.notes import Note, NoteBook, Notes, notes_file, read_notes
from rekadapter.gallery_sync.people import (
    Photograph,
    SyncRoster,
    UnreadablePhotograph,
    read_sync_roster,
)
from rekadapter.gallery_sync.plan import (
    CannotMove,
    FacesOf,
    KnownFailure,
    Side,
    SidePlan,
    SyncOptions,
    SyncPlan,
    plan_sync,
)

__all__ = [
    "CannotMove",
    "FacesOf",
    "FailedPhotograph",
    "KnownFailure",
    "NotDeleted",
    "Note",
    "NoteBook",
    "Notes",
    "Photograph",
    "Side",
    "SideOutcome",
    "SidePlan",
    "SyncOptions",
    "SyncOutcome",
    "SyncPlan",
    "SyncRoster",
    "SyncedPhotograph",
    "UnreadablePhotograph",
    "carry_out",
    "notes_file",
    "plan_sync",
    "read_notes",
    "read_sync_roster",
]
