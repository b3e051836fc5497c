from .agreement import AgreementSnapshot
from .allowance import Allowance
from .event import Event
from .importing import ImportRun
from .label_studio import (
    LabelStudioAnnotation,
    LabelStudioPerson,
    LabelStudioProject,
    LabelStudioRun,
    LabelStudioTask,
)
from .people import ApiToken, Invitation, Membership, Role, User
from .post import Image, LabelSource, Post, State, Template
from .project import Label, Project
from .removal import Removal
from .review import Disagreement, Review, Targeting
from .room import Holding, Place
from .tally import QueueTally, Tally, VoteTally
from .vote import Vote, Voter
from .webhook import Delivery, Webhook

__all__ = [
    "AgreementSnapshot",
    "Allowance",
    "ApiToken",
    "Delivery",
    "Disagreement",
    "Event",
    "Holding",
    "Image",
    "ImportRun",
    "Invitation",
    "Label",
    "LabelSource",
    "LabelStudioAnnotation",
    "LabelStudioPerson",
    "LabelStudioProject",
    "LabelStudioRun",
    "LabelStudioTask",
    "Membership",
    "Place",
    "Post",
    "Project",
    "QueueTally",
    "Removal",
    "Review",
    "Role",
    "State",
    "Tally",
    "Targeting",
    "Template",
    "User",
    "Vote",
    "VoteTally",
    "Voter",
    "Webhook",
]
