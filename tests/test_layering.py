"""The shape of the house: imports run one way, nothing runs a user's text, nothing knows a model by name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from sympy import sympify

import emdsl
from emdsl.derive.algebra import made
from emdsl.derive.posteriors.draws import KERNELS
from emdsl.generate import helpers
from emdsl.generate.lines import kept
from emdsl.language import inference
from emdsl.language.kinds import KINDS
from emdsl.runtime.bundle import BUNDLED, runtime_source

PACKAGE = Path(emdsl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = ("errors", "language", "families", "derive", "generate", "report", "graph", "fit", "compiler", "cli")
FOLDERS = {  # of a layer, from the earlier to the later
    "derive": ("algebra", "joint", "posteriors", "updates"),
    "generate": ("lines", "blocks", "functions"),
    "runtime": ("data", "numeric", "fields", "discrete", "meanfield", "fitting", "montecarlo"),
}
RUNTIME_MAY_IMPORT = {"numpy", "scipy", *sys.stdlib_module_names}
LONGEST = 400

# A generated module becomes a live one in a single place, and from text that the printer wrote.
MAY_EXECUTE = {"fit/loading.py": {"exec", "compile of builtins"}, "fit/verify/apart.py": {"subprocess"}}
FORBIDDEN = {
    "eval",
    "exec",
    "sympify",
    "parse_expr",
    "__import__",
    "lambdify",
    "nsimplify",
    "system",
    "popen",
    "execfile",
}
FORBIDDEN_CALLS = {"S", "symbols"}  # names that stand for other things, too
FORBIDDEN_MODULES = {
    "pickle",
    "shelve",
    "marshal",
    "dill",
    "cloudpickle",
    "joblib",
    "subprocess",
    "runpy",
    "ctypes",
    "yaml",
    "code",
}
MODEL_NAMES = re.compile(
    r"(?<![a-z])(hmm|lda|gmm|kalman_?model|kalman_?filter|baum_?welch|viterbi_hmm|dawid_?skene|old_?faithful|"
    r"mixture_of|latent_dirichlet|factor_?anal\w*|is_mixture|is_chain_model)(?![a-z])",
    re.IGNORECASE,
)


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> tuple[str, ...]:
    """`emdsl/fit/model.py` -> ("fit", "model"); `emdsl/fit/__init__.py` -> ("fit",)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a tree."""
    return tuple(ast.walk(tree))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module named by an import anywhere in a file, inside functions too, with its line."""
    for node in nodes(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield node.lineno, module
                if module == "emdsl":  # from emdsl import errors
                    yield from ((node.lineno, f"emdsl.{a.name}") for a in names)
            case ast.ImportFrom(level=level) if level > 0:
                yield node.lineno, "<relative>"


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def violations(own: tuple[str, ...], tree: ast.AST) -> list[str]:
    """What a module at `own` may not import. The runtime stands outside the line: see `runtime_violations`."""
    if not own or own == ("__main__",):  # emdsl/__init__.py hands names on, __main__ starts the command line
        return []
    known = (*LAYERS, "runtime")
    if own[0] not in known:
        return [f"{own[0]} has no place among {', '.join(known)}"]
    out = []
    for line, module in imports(tree):
        target = module.split(".")
        if module == "<relative>":
            out.append(f"line {line}: a relative import")
        elif target[0] == "emdsl" and len(target) > 1 and target[1] in LAYERS:
            if own[0] == "runtime" or LAYERS.index(target[1]) > LAYERS.index(own[0]):
                out.append(f"line {line}: {own[0]} imports {module}")
    return out


def runtime_violations(tree: ast.AST) -> list[str]:
    """The runtime is printed into modules that run without emdsl: numpy, scipy, the standard library, itself.

    What compiles loops, and what holds BLAS to one thread, are asked for in one place each, when wanted. Of scipy only
    the name is imported: its parts load where they are first read.
    """
    asked = {
        line
        for function in nodes(tree)
        if isinstance(function, ast.FunctionDef)
        for line, module in imports(function)
        if (function.name, module) in {("compiled", "numba"), ("blas", "threadpoolctl")}
    }
    found = []
    for line, module in imports(tree):
        known = module.startswith("emdsl.runtime.") or module.split(".")[0] in RUNTIME_MAY_IMPORT
        if not known and line not in asked:
            found.append(f"line {line}: {module}")
    early = (n for n in nodes(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "scipy")
    return found + [f"line {n.lineno}: a part of scipy" for n in early]


def files_read(tree: ast.AST, known: set[str]) -> set[str]:
    """The files of the package that a file imports, or imports names from."""
    named = {name for _, name in imports(tree)}
    inside = (n for n in nodes(tree) if isinstance(n, ast.ImportFrom))  # from emdsl.derive import expr
    return (named | {f"{n.module}.{a.name}" for n in inside for a in n.names}) & known


def test_no_files_import_one_another_in_a_circle() -> None:
    """Imports for types alone, and inside functions, count: a circle of those is one all the same."""
    files = {".".join(("emdsl", *module_of(p))): p for p in FILES if p.stem != "__init__"}
    reads = {name: files_read(parse(path), set(files)) for name, path in files.items()}
    assert "emdsl.derive.algebra.expr" in reads["emdsl.generate.lines.expressions"]
    TopologicalSorter(reads).prepare()  # raises CycleError, which names the circle


def against_folders(own: tuple[str, ...], tree: ast.AST) -> list[str]:
    """What a file in a folder of a layer imports from a later folder of it."""
    order = FOLDERS.get(own[0], ()) if len(own) > 2 else ()
    later = order[order.index(own[1]) + 1 :] if order else ()
    return [f"line {n}: {m}" for n, m in imports(tree) if m.startswith(tuple(f"emdsl.{own[0]}.{f}" for f in later))]


def test_folders_of_a_layer_have_an_order_too() -> None:
    assert not everywhere(lambda path: against_folders(module_of(path) or ("",), parse(path)))
    against = ast.parse("from emdsl.derive.updates.solve import solve")
    assert against_folders(("derive", "posteriors", "fields"), against) == ["line 1: emdsl.derive.updates.solve"]
    assert not against_folders(("derive", "updates", "statistics"), against)


def test_the_walk_sees_the_package() -> None:
    assert {"errors", "language", "families", "derive", "generate", "fit", "compiler", "cli", "runtime"} <= {
        module_of(p)[0] for p in FILES if module_of(p)
    }


def everywhere(wrong: Callable[[Path], list[str]], paths: list[Path] = FILES) -> dict[str, list[str]]:
    """What is wrong, file by file; nothing is said of files in order."""
    found = {relative(path): wrong(path) for path in paths}
    return {name: said for name, said in found.items() if said}


def test_imports_run_one_way() -> None:
    assert everywhere(lambda path: violations(module_of(path), parse(path))) == {}


def test_the_runtime_stands_alone() -> None:
    runtime = [p for p in FILES if module_of(p)[:1] == ("runtime",)]
    assert len(runtime) > 20 and everywhere(lambda path: runtime_violations(parse(path)), runtime) == {}


def test_the_walk_would_see_an_import_against_the_direction() -> None:
    upward = ast.parse("def f():\n    from emdsl.generate.printer import show\n")
    assert violations(("derive", "split"), upward) == ["line 2: derive imports emdsl.generate.printer"]
    assert violations(("generate", "printer"), upward) == []
    assert violations(("runtime", "a"), ast.parse("import emdsl.errors")) == ["line 1: runtime imports emdsl.errors"]
    assert violations(("derive", "split"), ast.parse("from emdsl import cli")) == ["line 1: derive imports emdsl.cli"]
    assert violations(("derive", "split"), ast.parse("from . import plan")) == ["line 1: a relative import"]
    assert runtime_violations(ast.parse("import sympy")) == ["line 1: sympy"]
    assert runtime_violations(ast.parse("from scipy import special")) == ["line 1: a part of scipy"]
    assert runtime_violations(ast.parse("def compiled():\n    import numba\nimport numba")) == ["line 3: numba"]


def kinds_listed(tree: ast.AST) -> list[str]:
    """Lists of the kinds of domains that have a property in common, which `language/kinds.py` says once."""
    properties = ("interval", "discrete", "structured", "symmetric")
    known = [{k for k, row in KINDS.items() if getattr(row, p)} for p in properties]
    listed = (n for n in nodes(tree) if isinstance(n, ast.Tuple | ast.List | ast.Set))
    return [f"line {n.lineno}" for n in listed if {e.value for e in n.elts if isinstance(e, ast.Constant)} in known]


def test_what_kinds_of_domains_have_in_common_is_said_once() -> None:
    """The runtime stands alone, and is held against the table in `test_binding`."""
    inside = [p for p in FILES if module_of(p)[:1] != ("runtime",)]
    assert everywhere(lambda path: kinds_listed(parse(path)), inside) == {}
    assert kinds_listed(ast.parse('v.kind in ("unit", "real", "positive")')) == ["line 1"]


def run_as_code(tree: ast.AST, allowed: Collection[str] = ()) -> list[str]:
    """What runs a text, under whatever name it is reached; modules that load one as code; handlers of any error."""
    out = []
    for node in nodes(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in FORBIDDEN - {*allowed}:
                out.append(f"line {node.lineno}: {name}")
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in FORBIDDEN_CALLS:
                out.append(f"line {node.lineno}: {name}(")
            case ast.Attribute(value=ast.Name(id="builtins"), attr="compile") if "compile of builtins" not in allowed:
                out.append(f"line {node.lineno}: compile")
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]) if (
                name in FORBIDDEN
            ):
                out.append(f"line {node.lineno}: getattr of {name}")
            case ast.keyword(arg="allow_pickle" | "shell", value=ast.Constant(value=value)) if value is not False:
                out.append(f"line {node.lineno}: {node.arg}")
            case ast.ExceptHandler(type=None):
                out.append(f"line {node.lineno}: a bare except")
    held = FORBIDDEN_MODULES - {*allowed}
    return out + [f"line {line}: {m}" for line, m in imports(tree) if m.split(".")[0] in held]


def test_no_text_is_run() -> None:
    assert everywhere(lambda path: run_as_code(parse(path), MAY_EXECUTE.get(relative(path), ()))) == {}
    for wrong in (
        "import pickle", "try:\n    a()\nexcept:\n    pass", "eval(a)", "run = eval", "from builtins import exec as e",
        "builtins.exec(a)", "builtins.compile(a, b, c)", "getattr(builtins, 'eval')(a)", "sp.sympify(a)", "f = sp.S(a)",
        "sp.nsimplify(a)", "frame.eval(a)", "os.system(a)", "import subprocess", "np.load(a, allow_pickle=True)",
    ):  # fmt: skip
        assert run_as_code(ast.parse(wrong)), wrong
    assert not run_as_code(ast.parse("exec(a)"), ("exec",))


@pytest.mark.filterwarnings("ignore::emdsl.runtime.data.faults.ConvergenceWarning")
def test_of_what_is_compiled_only_the_printed_module_holds_a_user_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever compiles it: Python itself reports every text that `eval`, `exec` or `compile` are given."""
    seen: set[tuple[str, bool]] = set()
    watching = [True]

    def hook(event: str, given: tuple[object, ...]) -> None:  # cannot be taken away again, so it is told to stop
        if watching[0] and event == "compile" and given[0] is not None:
            seen.add((str(given[1]), "zqx" in str(given[0])))

    parsed: list[object] = []
    monkeypatch.setattr("sympy.parsing.sympy_parser.parse_expr", lambda text, *_, **__: parsed.append(text))
    text = """model zqx_m
family zqx_F(zqx_t : positive | zqx_r : positive) = log(zqx_r) - zqx_r * zqx_t
size zqx_K = 2
param zqx_w : simplex[zqx_K]
param zqx_a[zqx_K] : positive
param zqx_b : positive
for n in N:
    latent   zqx_z[n] ~ Categorical(zqx_w)
    observed zqx_x[n] ~ Gamma(zqx_a[zqx_z[n]], zqx_b)
    observed zqx_y[n] ~ zqx_F(zqx_b)
"""
    sys.addaudithook(hook)
    try:
        sympify("1 + zqx")  # both watches do see what is to be seen
        eval("'zqx'")  # noqa: S307
        assert parsed.pop() == "1 + zqx" and seen.pop() == ("<string>", True)
        model = emdsl.compile(text=text)
        model.fitter(seed=0, max_iter=1, on_degenerate="keep").fit({"zqx_x": [1.0, 2, 4], "zqx_y": [1.0, 2, 3]})
        d = model.derivation
        assert all((str(d), d.to_latex(), d.to_html(), d.to_markdown(), d.to_dict(), str(model.graph())))
    finally:
        watching[0] = False
    assert not parsed and {file for file, ours in seen if ours} == {"<generated module>"}


def names_of_models(tree: ast.AST) -> list[str]:
    """Names and short texts of a file that name a kind of model."""
    names = {n.id for n in nodes(tree) if isinstance(n, ast.Name)}
    names |= {n.name for n in nodes(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    names |= {n.attr for n in nodes(tree) if isinstance(n, ast.Attribute)}
    names |= {n.value for n in nodes(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
              and len(n.value) < 40}  # fmt: skip
    return [n for n in sorted(names) if MODEL_NAMES.search(n)]


def test_nothing_knows_a_model_by_name() -> None:
    assert everywhere(lambda path: names_of_models(parse(path))) == {}
    seen = ast.parse("def fit_hmm(): model.name == 'old_faithful' or is_mixture")
    assert names_of_models(seen) == ["fit_hmm", "is_mixture", "old_faithful"]


def test_a_model_s_name_would_be_seen() -> None:
    assert MODEL_NAMES.search("fit_hmm") and MODEL_NAMES.search("GMM") and not MODEL_NAMES.search("sigmoid")


def test_files_are_short() -> None:
    lines = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}


def loaded_after(code: str) -> set[str]:
    """The top-level modules in memory after `code`, in a fresh interpreter that finds the same emdsl."""
    script = f"{code}\nimport sys; print(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    root = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
    done = subprocess.run([sys.executable, "-c", root + script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_emdsl_is_light() -> None:
    heavy = {"typing", "sympy", "lark", "scipy", "mpmath", "rich", "click", "numpy", "numba", "threadpoolctl"}
    assert not loaded_after("import emdsl") & heavy
    assert "lark" in loaded_after("from emdsl.families import PRELUDE; PRELUDE()")  # the probe does see what is loaded


def test_names_are_handed_on() -> None:
    from emdsl.errors import EmdslError

    assert emdsl.EmdslError is EmdslError
    assert set(emdsl.__all__) <= set(dir(emdsl))
    for name in emdsl.__all__:
        assert getattr(emdsl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'compiles'"):
        emdsl.compiles  # noqa: B018


def given(node: ast.stmt) -> list[str]:
    """The names that a statement at the top level of a file gives: a function's, a class's, a constant's."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [t.id for t in targets if isinstance(t, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def test_helpers_of_modules_have_names_of_their_own() -> None:
    """The runtime is printed into one module: a name that two of its files give would be the last one's."""
    found = [
        name
        for module in (*helpers.MODULES, *BUNDLED)
        for node in ast.parse(runtime_source(module)).body
        for name in given(node)
    ]
    assert sorted(found) == sorted(set(found))


def test_names_of_made_elements_are_put_together_in_one_place() -> None:
    """`Q.of("z")`, never `f"q:{name}"`: a kind is a line of a table, and a reader finds its makers and readers."""
    words = "|".join(k.word for m in (made, kept) for k in vars(m).values() if isinstance(k, made.Kind))
    spelled = re.compile(rf"""f["'](?:{words})\d*:\{{|startswith\(\(?["'](?:{words}):""")
    assert spelled.search('El(f"q:{block.name}", axes)') and spelled.search('e.var.startswith("present:")')
    read = [p for p in FILES if relative(p).split("/")[0] in ("derive", "generate", "report")]
    assert not [relative(p) for p in read if spelled.search(p.read_text(encoding="utf-8"))]


def test_kernels_that_the_language_takes_are_those_that_move() -> None:
    assert tuple(KERNELS) == inference.KERNELS


@pytest.mark.parametrize("module", helpers.MODULES)
def test_helpers_are_cut_where_python_cuts_them(module: str) -> None:
    """Statements at the top of a helper file by how lines begin, and as Python parses them."""
    text = runtime_source(module)
    lines, made, names = text.splitlines(), [], set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {a.asname or a.name for a in node.names}
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            made.append("\n".join(lines[start - 1 : node.end_lineno]))
    assert [block for m, block in helpers.top_level(text) if not m["imports"]] == made
    assert set(helpers.imported(text)) == names


def test_the_architecture_says_what_each_pass_does() -> None:
    """Nineteen of them stood in no row of its table."""
    page = (Path(__file__).parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("| file | does |")[2].partition("\n\n")[0]
    named = set(re.findall("`([a-z_0-9]+)`", table))
    passes = {path.stem for path in (PACKAGE / "derive").rglob("*.py")} - {"__init__", "plan"}
    assert passes <= named, passes - named


def test_the_list_of_files_is_the_tree(golden: Callable[[str, str], None]) -> None:
    """Every file with what its first lines say of it; a file that says nothing fails. `--update-golden` writes it."""
    told = [(relative(p), ast.get_docstring(parse(p))) for p in FILES if p.stat().st_size]
    assert not [name for name, says in told if says is None]
    page = [
        "# Every file, and what it says of itself",
        "",
        "In the order of the alphabet; [the architecture](architecture.md) has them in the order of the data.",
        "Made of the first lines of files: after a change `pytest tests/test_layering.py --update-golden` writes it.",
    ]
    folder = None
    for name, says in told:
        head, _, file = name.rpartition("/")
        if head != folder:
            folder = head
            page += ["", f"**{'emdsl/' + head if head else 'emdsl'}**", "", "| file | does |", "| --- | --- |"]
        line = " ".join(str(says).partition("\n\n")[0].split()).replace("|", "\\|")
        page.append(f"| `{file.removesuffix('.py')}` | {line} |")
    golden("../../docs/files.md", "\n".join(page) + "\n")
