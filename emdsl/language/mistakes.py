"""A line that does not parse: where it goes wrong, what would have been right, and which habit it comes from."""

from __future__ import annotations

from emdsl.errors import Problem, Span, nearest
from emdsl.language.lexing import STATEMENTS, SYMBOLS, Lexeme

_SHOWN = {terminal: f"`{symbol}`" for symbol, terminal in SYMBOLS.items()}
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "DOUBLESLASH", "PERCENT", "AT", "CARET", "DOT", "EQ", "NE", "LT", "LE",
              "GT", "GE", "AND", "OR", "IF", "LSQB", "LPAR", "FOR"}  # fmt: skip
_STARTS = {"NAME", "NUMBER", "LPAR", "LSQB"}


def explain(tokens: tuple[Lexeme, ...], position: int, expected: frozenset[str]) -> Problem:
    """The problem at `tokens[position]`, or at the end of the line where `position` is its length."""
    if position == 0:
        return _unknown_statement(tokens)
    if position < len(tokens):
        found, span = f"`{tokens[position].text}`", tokens[position].span
    else:
        last = tokens[-1].span
        found, span = (
            "the end of the line",
            Span(last.file, last.end_line, last.end_column, last.end_line, last.end_column + 1),
        )
    hint = _habit(tokens, position, expected)
    wanted = _wanted(expected)
    code = "E015" if hint else "E014"
    return Problem(code, f"unexpected {found}{': expected ' + wanted if wanted else ''}", span, hint)


def _wanted(expected: frozenset[str]) -> str:
    """What could stand here, in few words."""
    rest = set(expected) - {"$END"}
    if _STARTS <= rest:
        return "an expression"
    out = []
    if _OPERATORS & rest and len(_OPERATORS & rest) > 3:
        out.append("an operator")
        rest -= _OPERATORS
    if rest & {t.upper() for t in STATEMENTS} and len(rest) > 3:
        return "a declaration" if "$END" not in expected else "a declaration or the end of the line"
    for terminal in sorted(rest):
        out.append("a name" if terminal == "NAME" else "a number" if terminal == "NUMBER" else
                   _SHOWN.get(terminal, f"`{terminal.lower()}`"))  # fmt: skip
    if "$END" in expected:
        out.append("the end of the line")
    return ", ".join(out[:-1]) + (" or " if len(out) > 1 else "") + out[-1] if out else ""


def _unknown_statement(tokens: tuple[Lexeme, ...]) -> Problem:
    first = tokens[0]
    known = [w for w in STATEMENTS if w != "for"]
    types = [t.type for t in tokens]
    hint = None
    if first.type == "NAME":
        near = nearest(first.text, (*STATEMENTS, "data"))
        following = types[1] if len(types) > 1 else ""
        if near in STATEMENTS and following == "NAME":
            hint = f"did you mean `{near}`?"
        elif first.text in ("data", "parameter", "var", "const"):
            hint = "data are `observed` or `given`, unknowns `param` or `latent`"
        elif first.text == "import":
            hint = "a model imports nothing"
        elif "TILDE" in types:
            target = "".join(t.text for t in tokens[: types.index("TILDE")])
            hint = f"write `latent {target} ~ ...` or `observed {target} ~ ...`"
        elif "LT" in types and types[types.index("LT") + 1 : types.index("LT") + 2] == ["MINUS"]:
            hint = f"write `let {first.text} = ...` or `observed {first.text} ~ ...`; there is no `<-`"
        elif "ASSIGN" in types:
            hint = f"a definition is written `let {first.text} = ...`"
        elif near is not None and near in STATEMENTS:
            hint = f"did you mean `{near}`?"
    elif first.type in ("IF", "ELSE"):
        hint = "a condition stands inside an expression: `a if cond else b`"
    what = "expected a declaration" if hint else f"expected {', '.join(known)} or `for`"
    return Problem("E015" if hint else "E014", f"unexpected `{first.text}`: {what}", first.span, hint)


def _habit(tokens: tuple[Lexeme, ...], position: int, expected: frozenset[str]) -> str | None:
    """A hint for what people write in other languages."""
    types = [t.type for t in tokens]
    here = types[position] if position < len(types) else "$END"
    text = tokens[position].text if position < len(types) else ""
    before = types[position - 1]
    kind = tokens[0].text
    random = kind in ("observed", "latent")
    if here == "ASSIGN" and "TILDE" in expected and random:
        return f"`{kind}` takes a distribution: write `~` for `=`"
    if here == "ASSIGN" and "TILDE" in expected:
        return "a param is estimated; a fixed value is a `let`, or a `given` with a default"
    if here == "TILDE" and "ASSIGN" in expected:
        return f"a `{kind}` has no distribution: it is " + ("known" if kind == "given" else "a definition with `=`")
    if here == "ASSIGN" and {"EQ", "PLUS"} & expected:
        return "equality is written `==`"
    if here == "LT" and "TILDE" in expected:
        return "write `~`; there is no `<-`"
    if here == "MINUS" and before == "LT" and random:
        return "write `~`; there is no `<-`"
    if here == "STAR" and before == "STAR":
        return "a power is written `^`"
    if here == "ASSIGN" and before in ("PLUS", "MINUS", "STAR", "SLASH", "EQ"):
        return "nothing is assigned to: a model is a set of declarations"
    if here == "NAME" and text in ("and", "or"):
        return f"write `{text}` between conditions"
    return _place_habit(tokens, position, expected)


def _place_habit(tokens: tuple[Lexeme, ...], position: int, expected: frozenset[str]) -> str | None:
    types = [t.type for t in tokens]
    here = types[position] if position < len(types) else "$END"
    before, kind = types[position - 1], tokens[0].text
    if here in ("FOR", "IN", "IF", "ELSE", "AND", "OR", "NOT") and "NAME" in expected and before.lower() == kind:
        return f"`{tokens[position].text}` is reserved: choose another name"
    if here == "COLON" and kind == "model":
        return "the line ends at the name, and what follows is not indented"
    if here == "COMMA" and kind in STATEMENTS and kind != "for" and _in_target(types[:position]):
        return f"a line declares one name: write `{kind}` again for the next"
    if kind == "for" and "COLON" in types[:position] and before == "COLON" and types[position - 2] == "NUMBER":
        return "write `for i in SIZE:`; it counts from 0"
    if here == "NUMBER" and before == "NAME" and "LSQB" in expected:
        return "brackets hold sizes and indices"
    if here == "$END" and "COLON" in expected and kind == "for":
        return "a `for` line ends in `:`"
    if here == "COLON" and before == "NUMBER":
        return "there are no slices; write `for i in SIZE:`"
    if here == "$END" and "ELSE" in expected:
        return "a conditional has both branches: `a if cond else b`"
    if here == "$END" and "COLON" in expected and kind in ("param", "given"):
        return f"a {kind} has a domain: `{kind} name : real`"
    if here == "$END" and "TILDE" in expected and kind in ("observed", "latent"):
        return f"its distribution stands on the same line: `{kind} ... ~ Normal(...)`"
    if here == "$END" and kind == "infer" and "BY" in expected:
        return "write `infer NAME by METHOD`"
    if here == "NAME" and before in ("NAME", "NUMBER", "RPAR", "RSQB") and "STAR" in expected:
        return "a product is written with `*`"
    if here == "LPAR" and before == "RPAR":
        return "only a name can be called"
    if here == "LPAR" and kind == "for" and "range" in [t.text for t in tokens]:
        return "write `for i in SIZE:`; it counts from 0"
    return None


def _in_target(types: list[str]) -> bool:
    """Whether a line so far is a keyword and a whole target: `param a`, `latent z[n]`."""
    bracketed = types[1:3] == ["NAME", "LSQB"] and types[-1] == "RSQB" and types.count("LSQB") == 1
    return bracketed or types[1:] == ["NAME"]
