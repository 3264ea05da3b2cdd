from functools import partial
from typing import Annotated

import typer

from sdfkit.options import IRRELEVANT, FailFast, Jobs, Seed, Timeout
from sdfkit.runtime.cores import CORES


def fetch(
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of shapes to fetch."), IRRELEVANT] = 20,
    category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Category of LVIS; repeat for several.")
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default="cc0, by and by-sa",
            help="Licence that shapes may have, such as by-nc or CC-BY-NC-4.0; repeat for several.",
        ),
    ] = None,
    list_categories: Annotated[
        bool, typer.Option("--list", help="Print the categories with their numbers of shapes."), IRRELEVANT
    ] = False,
    seed: Seed = 0,
    jobs: Jobs = CORES,
    timeout: Timeout = 600,
    fail_fast: FailFast = False,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Folder for meshes and manifest.json."),
        IRRELEVANT,
    ] = None,
) -> None:
    """Download shapes of Objaverse, chosen by category and licence.

    The shapes are those of LVIS, the labelled subset of Objaverse: about 46,000 in 1,156 categories. They are chosen at
    random by --seed, so that no category is repeated before all others have been used equally often. More shapes
    (--count) with the same seed are the same ones and others. The files are named by their uids, and manifest.json has
    uid, category, licence, source (author and page) and checksum (SHA-256) of each.

    Each shape has a licence of its own. Without --licence, only those are chosen that permit both changed copies and
    commercial use: cc0 (CC0-1.0), by (CC-BY-4.0) and by-sa (CC-BY-SA-4.0). The last two demand that authors are named,
    and by-sa that changed copies have the same licence. The others of Objaverse are by-nd, by-nc, by-nc-sa and
    by-nc-nd: nd forbids changed copies, and nc commercial use. The number of shapes that are left out because of their
    licence is reported. Licences are those that Objaverse states; sdfkit does not check them.

    The same command continues an interrupted run. A file whose checksum is that of manifest.json is not fetched again;
    one that has changed is, with a warning. A download that fails is reported, and listed in manifest.json under
    "failed"; the others continue, and the same command tries it again. The command needs pip install 'sdfkit[lvis]'.
    The package objaverse keeps a second copy of what it downloads in ~/.objaverse, which may be deleted afterwards. The
    first use downloads the metadata of the shapes, up to 160 files.

    \b
    Examples:
      sdfkit fetch --count 1000 --seed 0 -o raw/ && sdfkit watertight raw/manifest.json -o closed/
      sdfkit fetch --category chair --category lamp --count 40 -o furniture/
      sdfkit fetch --list
    """
    import logging

    from sdfkit.errors import UsageError
    from sdfkit.io.objaverse.annotations import Annotations
    from sdfkit.io.objaverse.choosing import FREE, choose_shapes, find_licence, group_by_category
    from sdfkit.io.objaverse.fetching import check_folder, fetch_object, open_fetched
    from sdfkit.runtime.pool import PoolOptions, compute_rows, report_outcome

    log = logging.getLogger(__name__)
    licences = [find_licence(name) for name in licence or ()] or list(FREE)
    annotations = Annotations("fetch")
    if list_categories:
        for name, uids in group_by_category(annotations.categories(), category or ()).items():
            typer.echo(f"{name:<32}{len(uids):>6}")
        return
    if output is None:
        raise UsageError("no folder is given for the meshes; add -o FOLDER")
    check_folder(output)
    groups = group_by_category(annotations.categories(), category or ())
    choice = choose_shapes(groups, count, seed, licences, annotations.credits)
    if choice.left_out:
        log.warning("left out %s; --licence chooses others", choice.describe_left_out())
    with open_fetched(output, choice.rows) as folder:
        options = PoolOptions(jobs, timeout, None, fail_fast)
        compute_rows(folder, folder.rows, count, partial(fetch_object, folder=output), options)
    report_outcome(output, "meshes", count, folder.failed, made=folder.made)
