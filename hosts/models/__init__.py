from .deployment import Deployment, Installation
from .diagnosis import Diagnosis
from .host import Host

__all__ = ["Deployment", "Diagnosis", "Host", "Installation"]
