"""What the runs of a section cannot show."""

from reports.rows import Row
from reports.sections import Section
from reports.words import listed


def limits(section: Section) -> list[str]:
    """What these runs cannot show: tiny scale, one seed, no reference lines, no headroom. Empty where none applies."""
    found = []
    here = [section.name(row) for row in section.competitors if _briefly(section, row)]
    if section.scale == "tiny" and not section.own and here:
        found.append(
            "Scale tiny spends minutes on pretraining. It shows that the whole path works, what it costs and "
            "that it repeats. It cannot show which pretraining is best: at such budgets gains over random "
            "initialisation are often within the noise or negative, and longer runs may turn the order "
            "round. The evidence is the study scale (make study)."
        )
    elif here:
        found.append(
            f"{listed(here)}: pretrained here at scale tiny, in minutes. What they gain says nothing about the "
            "method at its usual budget."
        )
    if section.split in section.searched_on:
        found.append(
            f"Settings were chosen on {section.split}, the images that are reported: the scores are a little high. "
            "Images held out for the test alone would show by how much."
        )
    single = [
        column.label for column in section.columns if any(len(section.values(row, column)) == 1 for row in section.rows)
    ]
    if single:
        everywhere = len(single) == len(section.columns)
        where = "Every cell" if everywhere and len(section.seeds) == 1 else f"Some cells ({', '.join(single)})"
        found.append(
            f"{where}: one seed, n=1. There is no interval and no test; a difference between two methods may "
            "be nothing but the seed."
        )
    if section.own and section.reference("floor") is None:
        found.append("Without random weights of the same architecture nobody knows what any pretraining gained here.")
    for kind, name in (("floor", "random initialisation"), ("ceiling", "the oracle")):
        if section.reference(kind) is None and not section.own:
            found.append(f"Without {name} the headroom between floor and ceiling is unknown, so no column is ranked.")
    shared = [row for row in section.rows if shares_pretraining(section, row)]
    if shared:
        apart = [section.name(row) for row in section.rows if row not in shared]
        names = (
            listed([section.name(row) for row in shared])
            if len(apart) > len(shared)
            else f"all methods but {listed(apart)}"
            if apart
            else "all methods"
        )
        found.append(
            f"Seeds are those of fine-tuning for {names}: each was pretrained once, so intervals leave out "
            "the variance of pretraining" + ("." if section.own else " (tools/study.py --pretrain-anew includes it).")
        )
    closed = [column.label for column in section.columns if section.gate(column).state == "no headroom"]
    if closed:
        found.append(
            f"No headroom in {listed(closed)}: floor and ceiling lie within three seed standard deviations, "
            "so differences between methods there are noise and are not ranked."
        )
    return found


def shares_pretraining(section: Section, row: Row) -> bool:
    """Whether several seeds of a row fine-tuned one and the same checkpoint."""
    weights = {
        (r["seed"], r["checkpoint"]["sha256"]) for r in section.records if section.row_of(r) == row and r["checkpoint"]
    }
    return len({seed for seed, _ in weights}) > len({sha for _, sha in weights})


def _briefly(section: Section, row: Row) -> bool:
    """Whether a row's encoder was pretrained by the suite at scale tiny; published weights never were."""
    scales = {r["budget"]["pretrain_scale"] for r in section.records if section.row_of(r) == row}
    return scales == {"tiny"}
