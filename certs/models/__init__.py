from .client_note import ClientNote, NoteSnapshot
from .client_report import ClientReport
from .note_change import NoteChange
from .pair import Pair

__all__ = ["ClientNote", "ClientReport", "NoteChange", "NoteSnapshot", "Pair"]
