from .deployment import Deployment, Installation
from .diagnosis import Diagnosis
from .heartbeat import Heartbeat
from .host import Host

__all__ = ["Deployment", "Diagnosis", "Heartbeat", "Host", "Installation"]
