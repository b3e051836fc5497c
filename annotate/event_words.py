"""Pure: what the event log says to people. Its verbs are for programs, which filter by them, and stay as they are.

Each verb has a sentence, and after it what the event noted: a fact is left out where the event holds nothing of it.
"""

import re
from collections.abc import Mapping

HOLE = re.compile(r"\{([\w ]+)(?::(\w+))?\}")  # {name}, or {posts:post} for "1 post" and "400 posts"
# Keys of rows mean nothing to a reader, and an invitation's note may hold somebody's address.
UNTOLD = {"run", "pk", "id", "number", "user", "member", "invitation", "token", "note", "webhook", "host"}
SPLITS = {
    "train": "the training split", "validation": "the validation split", "test": "the test split",
    "holdout": "the locked test set",
}  # fmt: skip
# What is noted as a program's word.
VALUES = {
    "ended": {"done": "", "failed": "broken off", "stopped": "stopped by hand"},
    "form": {"merged": "16 bits", "8bit": "8 bits", "4bit": "4 bits", "lora": "the adapter alone"},
    "kind": {"folds": "in folds", "curve": "a learning curve"},
    "needs": {
        "word": "whether to settle is to be said", "review": "doubts and audits are to be answered",
        "verdict": "a lead decides whether it is kept",
    },
    "split": SPLITS,
    "splits": SPLITS,
}  # fmt: skip

# What workers have at work, and how that begins, goes on and ends.
JOBS = {
    "training": ("A training run", "on {dataset}"),
    "evaluation": ("An evaluation", "{predictor}", "{split} of {dataset}"),
    "pre-labelling": ("Pre-labelling by a model", "{posts:post}"),
    "settling by a model": ("Settling posts by a model", "{settled:post}"),
    "taking back of model labels": ("Taking back what a model settled", "{posts:post}"),
    "writing out": ("Writing out a model", "{form}"),
    "check of a served model": ("The check of a served model", "{form}"),
    "study": ("A study", "{kind}", "on {dataset}"),
    "round": ("A round", "number {round}", "{needs}"),
    "cascade": ("A cascade", "{cascade}"),
    "voting": ("A voting run", "{voters}", "{votes:vote}", "{spent}"),
}
STEPS = {
    "made": "was made",
    "begun": "has begun",
    "started": "was started",
    "asked for": "was asked for",
    "paused": "was paused",
    "resumed": "goes on",
    "stopped": "was stopped",
    "cancelled": "was cancelled",
    "held up": "is held up",
    "interrupted": "was interrupted",
    "failed": "failed",
    "done": "is done",
    "fitted": "is fitted",
    "lacks answers": "lacks answers",
    "waits for people": "waits for people",
    "goes on without open answers": "goes on without the answers that are open",
    "kept": "was kept",
    "rolled back": "was rolled back",
    "starts from the beginning": "begins anew",
}
SENTENCES = {
    **{
        f"{job} {step}": (f"{noun} {words}", *facts)
        for job, (noun, *facts) in JOBS.items()
        for step, words in STEPS.items()
    },
    # --- The project and its people
    "project made": ("The project was made", "with the preset {preset}"),
    "demo drawn": ("The demo project was drawn", "{posts:post}"),
    "settings changed": ("The settings were changed", "{changed}"),
    "quota changed": ("It was changed what the project may hold", "{room}", "{posts}"),
    "invited": ("Somebody was invited", "as {role}"),
    "invitation withdrawn": ("An invitation was withdrawn",),
    "joined": ("Somebody joined", "as {role}"),
    "role changed": ("Somebody got another role", "{who}", "{role}"),
    "removed": ("Somebody was removed from the project", "{who}"),
    # --- Posts
    "posts imported": (
        "Posts were imported", "{name}", "{imported:post}", "{already_there} there already", "{refused} refused",
    ),
    "import failed": ("An import failed", "{name}", "{imported:post}"),
    "import stopped": ("An import was stopped", "{name}", "{imported:post}"),
    "post removed": ("A post was removed for good", "{reason}"),
    "pushed to Label Studio": (
        "Posts were sent to Label Studio", "{ended}", "{pushed:post}", "{picture missing} without their picture",
    ),
    "pulled from Label Studio": (
        "Answers were fetched from Label Studio", "{ended}", "{applied} now reviews here", "{skipped} skipped there",
        "{agrees} as decided here", "{conflict} other than decided here", "{differ} where people differ",
        "{taken back} taken back here", "{unmapped} of people not named yet", "{stranger} of people who left",
        "{on screen} on somebody’s screen here", "{empty} without a label", "{unknown label} with a label unknown here",
        "{post gone} of posts deleted here", "{task deleted there} of tasks deleted there",
    ),
    "riskiest asked for": ("The riskiest labels were sent to people", "{posts:post}"),
    "labels doubted": ("Labels that a model doubts were sent to people", "{posts:post}"),
    "queue empty": ("Nothing is left to review",),
    # --- Machines that vote
    "voter added": ("A voter was added", "{name}"),
    "voter changed": ("A voter was changed", "{name}", "{changed}"),
    "voter replaced": ("A voter was replaced", "{name}"),
    "voter brought back": ("A voter was brought back", "{name}"),
    "failures retried": ("Questions that failed are asked again", "{posts:post}", "{cause}"),
    "budget reached": ("A voting run used up its budget", "{spent}"),
    # --- Machines that learn
    "dataset frozen": ("A dataset was frozen", "{dataset}", "{posts:post}"),
    "freezing failed": ("A dataset could not be frozen", "{dataset}"),
    "freezing stopped": ("Freezing a dataset was stopped", "{dataset}"),
    "dataset downloaded": ("A dataset was downloaded", "{dataset}", "as {format}", "{splits}"),
    "training starts from the beginning": (
        "A training run begins anew", "on {dataset}", "its checkpoint lies on {checkpoint_on}",
    ),
    "result brought home": ("The result of a run on another machine came home", "{dataset}"),
    "evaluation downloaded": ("The answers of an evaluation were downloaded", "as {format}"),
    "cascade made": ("A cascade was made", "{cascade}", "{first}, then {second}", "{candidates:label} each"),
    "cascade's point chosen": ("It was chosen when a cascade asks its second", "{cascade}", "{threshold}"),
    "written-out model deleted": ("A model that was written out was deleted", "{form}"),
    # --- The site
    "webhook added": ("A webhook was added",),
    "webhook changed": ("A webhook was changed",),
    "webhook paused": ("A webhook was paused",),
    "webhook turned on": ("A webhook was turned on",),
    "webhook secret changed": ("A webhook got a new secret",),
    "webhook deleted": ("A webhook was deleted",),
    "webhook switched off": ("A webhook was switched off", "{why}"),
    "events exported": ("The event log was downloaded", "as {format}", "filtered by {filter}"),
    "token made": ("An API token was made", "{name}"),
    "token revoked": ("An API token was revoked", "{name}"),
    "storage pruned": ("Room was made", "{megabytes} MB", "on {machine}"),
    "single sign-on connected": ("An account was connected to single sign-on", "{to}"),
    "site admin by group": ("Somebody became a site admin", "by the group {group}"),
    "site admin no more": ("Somebody is no site admin any more", "by the group {group}"),
}  # fmt: skip


def told(verb: str, data: Mapping[str, object]) -> tuple[str, str]:
    """What happened, and what was noted of it."""
    sentence, *facts = SENTENCES.get(verb) or as_it_is(verb, data)
    return sentence, ", ".join(said for fact in facts if (said := filled(fact, data)))


def sentence_of(verb: str) -> str:
    return told(verb, {})[0]


def as_it_is(verb: str, data: Mapping[str, object]) -> tuple[str, ...]:
    """A verb of another release."""
    known = {key: value for key, value in data.items() if key not in UNTOLD}
    words = [f"{{{key}}}" for key, value in known.items() if isinstance(value, str | list)]
    counts = [f"{{{key}}} {key.replace('_', ' ')}" for key, value in known.items() if type(value) is int]
    return (verb[:1].upper() + verb[1:], *words, *counts)


def filled(fact: str, data: Mapping[str, object]) -> str:
    """Blank where the event holds nothing of it."""
    told = [shown(key, data.get(key), noun) for key, noun in HOLE.findall(fact)]
    said = iter(told)
    return HOLE.sub(lambda hole: next(said), fact) if all(told) else ""


def shown(key: str, value: object, noun: str = "") -> str:
    if isinstance(value, list):
        return ", ".join(shown(key, one) for one in value)
    if isinstance(value, str):
        return VALUES.get(key, {}).get(value, value.replace("_", " ") if key == "changed" else value)
    if type(value) is not int or not value:
        return ""
    return f"{value:,} {noun}{'s' if value != 1 else ''}" if noun else f"{value:,}"
