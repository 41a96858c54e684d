from .client_note import ClientNote, NoteSnapshot
from .pair import Pair

__all__ = ["ClientNote", "NoteSnapshot", "Pair"]
