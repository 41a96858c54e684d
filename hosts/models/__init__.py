from .deployment import Deployment, Installation
from .diagnosis import Diagnosis
from .heartbeat import Heartbeat
from .host import Host
from .reader_page import ReaderPage

__all__ = ["Deployment", "Diagnosis", "Heartbeat", "Host", "Installation", "ReaderPage"]
