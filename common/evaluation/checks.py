"""What can be said of an evaluation before time is spent on it."""

from collections.abc import Sequence

from metaobj.common.errors import LengthError, UserError
from metaobj.common.evaluation.memory_of import agent_bytes
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.memory import memory


def check_sizes(
    protocol: EvaluationProtocol, method: Method, suite: Sequence[Entry], tuning: Sequence[Entry] = ()
) -> None:
    """Raises:
    UserError: the method cannot live in one of the environments of the suite or of tuning, or memory cannot hold the
        agents of one setting; a LengthError where a learning curve has more bins than an agent has updates.
    """
    for name, entries in (("seeds", suite), ("tuning_seeds", tuning)):
        number = getattr(protocol, name)
        for family in make_families(entries, method.programs):
            for entry in (entries[task] for task in family.tasks):
                if name == "seeds" and protocol.bins > (updates := method.updates(entry, family.program)):
                    where = f"an agent of {method.name} has {updates} updates on {entry.environment}"
                    raise LengthError(f"bins: {protocol.bins} given; {where}")
            agent = agent_bytes(method, family, method.settings(entries[family.tasks[0]].agent)[0])
            if (needed := agent * number) > memory():
                names = " or ".join(entries[task].environment for task in family.tasks)
                raise UserError(
                    f"{name}: {number} given; so many agents of {method.name} on {names} take "
                    f"{needed / 2**30:.3g} GiB, and there are {memory() / 2**30:.3g} GiB of memory"
                )


def check_steps(methods: Sequence[Method], suite: Sequence[Entry]) -> None:
    """Raises:
    LengthError: agents of two methods would not live the same number of environment steps, but for what is left of a
        life that begins with early steps.
    """
    for entry in suite:
        lives: dict[str, int] = {}
        whole: set[int] = set()
        for method in methods:
            program = make_families([entry], method.programs)[0].program
            lived = program.first_steps + method.updates(entry, program) * program.steps_per_update
            lives[method.name] = lived
            if program.early_steps:  # up to one update is left
                life = program.first_steps - program.early_steps + method.steps(entry)
                assert life - program.steps_per_update < lived <= life
                lived = life
            whole.add(lived)
        if len(whole) > 1:
            told = " and ".join(f"{name} {steps}" for name, steps in lives.items())
            raise LengthError(f"{entry.environment}: agents would not live the same number of steps: {told}")
