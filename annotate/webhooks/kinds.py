"""Pure: what is told to other programs, by what name, and where people find what it is about.

A verb that stands here is told; all others stay in the log. The part of a name before its dot is the kind that
webhooks choose by.
"""

KINDS = {
    "voting": "A voting run ended, failed, or rests",
    "budget": "A budget was reached",
    "queue": "The review queue is empty",
    "import": "An import ended or failed",
    "dataset": "A dataset was frozen, or could not be",
    "training": "A training run ended or failed",
    "evaluation": "An evaluation ended or failed",
    "study": "A study ended, or is held up",
    "cascade": "A cascade was fitted, or lacks answers",
    "prelabelling": "Pre-labelling ended or failed",
    "round": "A round ended, is held up, or waits for people",
    "serving": "A model was written out or checked",
    "label_studio": "Posts went to Label Studio, or answers came back",
    "people": "Somebody was invited, joined, left, or got another role",
    "settings": "The settings changed",
    "export": "A dataset, an evaluation or the event log was downloaded",
    "webhook": "A webhook was added, changed, switched off or deleted",
}

TEST = "webhook.test"

ENDS = ("done", "failed", "interrupted", "stopped")  # of what workers have at work
JOBS = {
    "training": "training",
    "evaluation": "evaluation",
    "pre-labelling": "prelabelling",
    "settling by a model": "prelabelling.settling",
    "taking back of model labels": "prelabelling.taking_back",
    "writing out": "serving.writing",
    "check of a served model": "serving.check",
}
TYPES = {
    **{f"{verb} {end}": f"{kind}{'_' if '.' in kind else '.'}{end}" for verb, kind in JOBS.items() for end in ENDS},
    **{f"voting {end}": f"voting.{end}" for end in ("done", "failed", "paused", "cancelled")},
    "budget reached": "budget.reached",
    "queue empty": "queue.empty",
    "posts imported": "import.done",
    "import failed": "import.failed",
    "import stopped": "import.stopped",
    "dataset frozen": "dataset.frozen",
    "freezing failed": "dataset.failed",
    "freezing stopped": "dataset.stopped",
    "study done": "study.done",
    "study held up": "study.held_up",
    "study stopped": "study.stopped",
    "cascade fitted": "cascade.fitted",
    "cascade lacks answers": "cascade.lacking",
    "cascade failed": "cascade.failed",
    "round waits for people": "round.waiting",
    "round held up": "round.held_up",
    "round stopped": "round.stopped",
    "round kept": "round.kept",
    "round rolled back": "round.rolled_back",
    "pushed to Label Studio": "label_studio.pushed",
    "pulled from Label Studio": "label_studio.pulled",
    "invited": "people.invited",
    "joined": "people.joined",
    "role changed": "people.role_changed",
    "removed": "people.removed",
    "settings changed": "settings.changed",
    "dataset downloaded": "export.dataset",
    "evaluation downloaded": "export.evaluation",
    "events exported": "export.events",
    "webhook added": "webhook.added",
    "webhook changed": "webhook.changed",
    "webhook paused": "webhook.paused",
    "webhook turned on": "webhook.turned_on",
    "webhook secret changed": "webhook.secret_changed",
    "webhook deleted": "webhook.deleted",
    "webhook switched off": "webhook.switched_off",
}

# How an event's verb begins, the page of what it is about, and what holds that page's number or name.
PLACES = (
    ("voting ", "voting_run", "run"),
    ("budget ", "voting_run", "run"),
    ("failures retried", "voting_run", "run"),
    ("queue ", "review", ""),
    ("posts imported", "import", "run"),
    ("import ", "import", "run"),
    ("dataset ", "dataset", "dataset"),
    ("freezing ", "dataset", "dataset"),
    ("training ", "run", "run"),
    ("result brought home", "run", "run"),
    ("evaluation ", "evaluation", "evaluation"),
    ("study ", "study", "study"),
    ("pre-labelling ", "prelabelling", "prelabelling"),
    ("settling by a model ", "prelabelling", "prelabelling"),
    ("taking back of model labels ", "prelabelling", "prelabelling"),
    ("round ", "round", "round"),
    ("cascade ", "cascade", "number"),
    ("cascade's ", "cascade", "number"),
    ("writing out ", "serving", "run"),
    ("written-out model ", "serving", "run"),
    ("check of a served model ", "serving", "run"),
    ("webhook deleted", "webhooks", ""),
    ("webhook ", "webhook", "webhook"),
    ("invit", "people", ""),
    ("joined", "people", ""),
    ("role changed", "people", ""),
    ("removed", "people", ""),
    ("settings changed", "settings", ""),
    ("events exported", "events", ""),
    ("pushed to Label Studio", "label_studio", ""),
    ("pulled from Label Studio", "label_studio", ""),
    ("riskiest asked for", "quality_riskiest", ""),
)

# Words of an event that are told beside its numbers: names that this product or an admin gave, never what people or
# posts say.
WORDS = {"dataset", "split", "form", "format", "kind", "needs", "ended", "spent", "cascade", "role"}


def short(kind: str) -> str:
    return kind.replace("_", " ").replace("label studio", "Label Studio")


def kind_of(verb: str) -> str:
    """Blank where it is told to nobody."""
    return TYPES.get(verb, "").partition(".")[0]


def place_of(verb: str, data: dict[str, object]) -> tuple[str, list[object]] | None:
    """The page's name, and what its address needs beside the project."""
    for beginning, page, holder in PLACES:
        if verb.startswith(beginning):
            told = data.get(holder)
            if not holder:
                return page, []
            return (page, [told]) if isinstance(told, int | str) and told != "" else None
    return None


def sayable(data: dict[str, object]) -> dict[str, object]:
    """What of an event leaves the house."""
    return {
        key: value
        for key, value in data.items()
        if isinstance(value, int | float) or (key in WORDS and isinstance(value, str))
    }
