"""Pure: what pydantic found wrong, as a sentence for whoever wrote it."""

from pydantic import ValidationError


def first_of(problem: ValidationError) -> str:
    error = problem.errors()[0]
    if told := error.get("ctx", {}).get("error"):
        return str(told)
    return f"“{'.'.join(map(str, error['loc']))}”: {error['msg']}."
