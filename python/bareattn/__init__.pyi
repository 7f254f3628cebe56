from os import PathLike
from typing import Any, Literal, Mapping, NamedTuple, Sequence, TypedDict, overload

import numpy as np

# A NumPy, PyTorch or JAX array in this computer's memory; a result is of the library of q.
Array = Any
Path = str | bytes | PathLike[str] | PathLike[bytes]
Span = tuple[int, int]
Beyond = Literal["refuse", "extrapolate", "scale"]
# Tokens (begin, end), several such, or a regular expression over the text.
Where = Span | Sequence[Span] | np.ndarray | str
# {name: where}, [(name, where)], [(name, begin, end)], "NAME=BEGIN:END" and "NAME=REGEX".
Spans = Mapping[str, Where] | Sequence[tuple[str, Where] | tuple[str, int, int] | str] | str
Layout = Literal["bhsd", "bshd", "packed", "thd"]
Stage = Literal["product", "capped", "biased", "weight"]

STATISTICS: tuple[str, ...]
STAGES: tuple[str, ...]
__version__: str

class Seen(TypedDict, total=False):
    lse: Array
    max_logit: Array
    max_key: Array
    row_sum: Array
    entropy: Array
    sum_squares: Array
    mean_distance: Array
    first_mass: Array
    self_weight: Array
    previous_weight: Array
    recent_mass: Array
    column_sums: Array
    top_keys: Array
    top_weights: Array
    full_weights: Array

# Without return_ the result is O alone, with it (O, Seen).
def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    is_causal: bool = ...,
    causal_align: Literal["top_left", "bottom_right"] = ...,
    offset: int | None = ...,
    scale: float | None = ...,
    left_window: int = ...,
    leading_keys: int = ...,
    right_window: int = ...,
    softcap: float = ...,
    attn_mask: Array | None = ...,
    alibi_slopes: Sequence[float] | Array | None = ...,
    sinks: Sequence[float] | Array | None = ...,
    cu_seqlens_q: Sequence[int] | Array | None = ...,
    cu_seqlens_k: Sequence[int] | Array | None = ...,
    kv_lengths: Sequence[int] | Array | None = ...,
    layout: Layout | None = ...,
    num_heads: int | None = ...,
    num_kv_heads: int | None = ...,
    threads: int = ...,
    compute: Literal["f32", "bf16"] = ...,
    return_: Sequence[str] | str = ...,
    top_k: int = ...,
    full_rows: Sequence[int] | Array | None = ...,
) -> Any: ...
def reference_attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    return_: Sequence[str] | str = ...,
    top_k: int = ...,
    full_rows: Sequence[int] | Array | None = ...,
    layout: Layout | None = ...,
    num_heads: int | None = ...,
    num_kv_heads: int | None = ...,
    **options: Any,
) -> Any: ...
def weights(
    q: Array,
    k: Array,
    *,
    rows: tuple[int, int] | None = ...,
    keys: tuple[int, int] | None = ...,
    stage: Stage = ...,
    max_logit: Array | None = ...,
    row_sum: Array | None = ...,
    layout: Layout | None = ...,
    num_heads: int | None = ...,
    num_kv_heads: int | None = ...,
    **options: Any,
) -> Array: ...
def merge_partial(o1: Array, lse1: Array, o2: Array, lse2: Array) -> tuple[np.ndarray, np.ndarray]: ...

class AttentionCache:
    compute: Literal["f32", "bf16"]
    def __init__(
        self, batch: int, kv_heads: int, head_dim: int, value_dim: int | None = ..., *, compute: Literal["f32", "bf16"] = ...
    ) -> None: ...
    def append(self, k: Array, v: Array, *, counts: Sequence[int] | Array | None = ..., layout: Layout = ...) -> None: ...
    def append_pages(
        self, k_pages: Array, v_pages: Array, table: Array | Sequence[Sequence[int]], lengths: Sequence[int] | Array
    ) -> None: ...
    def truncate(self, b: int, length: int) -> None: ...
    def attention(
        self,
        q: Array,
        *,
        is_causal: bool = ...,
        causal_align: Literal["top_left", "bottom_right"] = ...,
        return_: Sequence[str] | str = ...,
        top_k: int = ...,
        full_rows: Sequence[int] | Array | None = ...,
        layout: Layout = ...,
        num_heads: int | None = ...,
        num_kv_heads: int | None = ...,
        **options: Any,
    ) -> Any: ...
    @property
    def lengths(self) -> list[int]: ...
    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def value_dim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

class Role(NamedTuple):
    name: str
    score: float
    evidence: str

# A head: two numbers, one text "layer.head", or a pair, after which the other arguments follow as ever.
Head = int | str | tuple[int, int]

class Run:
    title: str
    model: dict[str, Any]
    tokens: np.ndarray
    texts: list[str]
    def __len__(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def measures(self) -> list[str]: ...
    @property
    def plot(self) -> Plot: ...
    def to_frame(self, measures: Sequence[str] | str | None = ...) -> Any: ...
    @overload
    def row(self, layer: int, head: int, row: int) -> np.ndarray: ...
    @overload
    def row(self, layer: Head, row: int) -> np.ndarray: ...
    @overload
    def top(self, layer: int, head: int, row: int, count: int = ...) -> list[tuple[int, float]]: ...
    @overload
    def top(self, layer: Head, row: int, count: int = ...) -> list[tuple[int, float]]: ...
    # Without a head: of every one, [layers, heads, ...].
    def rows(self, measure: str, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    @overload
    def mean(self, measure: str) -> np.ndarray: ...
    @overload
    def mean(self, measure: str, layer: Head, head: int = ...) -> float: ...
    def received(self, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    def max_key(self, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    @property
    def spans(self) -> dict[str, list[Span]]: ...
    @property
    def pool_block(self) -> int: ...
    def pool_sum(self, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    def pool_max(self, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    def role(self, layer: Head, head: int = ...) -> Role: ...
    def span(self, text: str) -> tuple[int, int]: ...
    @overload
    def tile(
        self, layer: int, head: int, rows: slice | tuple[int, int] = ..., keys: slice | tuple[int, int] = ...
    ) -> np.ndarray: ...
    @overload
    def tile(self, layer: Head, rows: slice | tuple[int, int] = ..., keys: slice | tuple[int, int] = ...) -> np.ndarray: ...
    @overload
    def scores(
        self, layer: int, head: int, rows: slice | tuple[int, int] = ..., keys: slice | tuple[int, int] = ...
    ) -> np.ndarray: ...
    @overload
    def scores(self, layer: Head, rows: slice | tuple[int, int] = ..., keys: slice | tuple[int, int] = ...) -> np.ndarray: ...
    def carried(self, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    @overload
    def value_weighted(
        self, layer: int, head: int, rows: slice | tuple[int, int] = ..., keys: slice | tuple[int, int] = ...
    ) -> np.ndarray: ...
    @overload
    def value_weighted(
        self, layer: Head, rows: slice | tuple[int, int] = ..., keys: slice | tuple[int, int] = ...
    ) -> np.ndarray: ...
    def agreement(self, rows: int = ..., threads: int = ..., value_weighted: bool = ...) -> dict[str, Any]: ...
    def sweep(
        self, groups: Sequence[str] | str | None = ..., rows: int = ..., threads: int = ..., value_weighted: bool = ...
    ) -> dict[str, Any]: ...
    def swept_rows(self, measure: str, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    @overload
    def stripes(self, layer: int, head: int, most: int) -> np.ndarray: ...
    @overload
    def stripes(self, layer: Head, most: int) -> np.ndarray: ...
    @overload
    def stripes(self, *, most: int) -> np.ndarray: ...
    @overload
    def laplacian_eigenvalues(self, layer: int, head: int, count: int = ...) -> np.ndarray: ...
    @overload
    def laplacian_eigenvalues(self, layer: Head, count: int = ...) -> np.ndarray: ...
    @overload
    def laplacian_eigenvalues(self, *, count: int = ...) -> np.ndarray: ...
    def span_mass(self, name: str, layer: Head = ..., head: int = ...) -> np.ndarray: ...
    # With a head a number, without an array [layers, heads].
    def span_flow(self, source: str, target: str, layer: Head = ..., head: int = ...) -> Any: ...
    def lookback_ratio(self, context: str, fresh: str, layer: Head = ..., head: int = ...) -> Any: ...
    def focus_score(self, instruction: str, data: str, layer: Head = ..., head: int = ...) -> Any: ...

class Trace(Run):
    def __init__(self, path: Path) -> None: ...
    @property
    def store(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def facts(self) -> dict[str, Any]: ...
    def check_model(self, path: Path) -> None: ...
    def verify(self) -> None: ...

class Plot:
    """Pictures for papers; each is a matplotlib Figure."""

    def head(
        self,
        layer: Head,
        head: int = ...,
        rows: slice | tuple[int, int] | None = ...,
        keys: slice | tuple[int, int] | None = ...,
        scale: Literal["log", "linear"] = ...,
        cmap: str = ...,
        width: float = ...,
    ) -> Any: ...
    def grid(self, measure: str = ..., cmap: str = ..., width: float = ...) -> Any: ...
    def text(
        self,
        row: int,
        layer: Head | None = ...,
        head: int | None = ...,
        keys: slice | tuple[int, int] | None = ...,
        cmap: str = ...,
        width: float = ...,
    ) -> Any: ...

class Page:
    html: str
    height: int
    def save(self, path: Path) -> None: ...

def show(
    run: Run,
    title: str | None = ...,
    height: int = ...,
    budget: int = ...,
    model: Model | str | PathLike[str] | None = ...,
    lesson: str = ...,
) -> Page: ...

def diff(
    a: Trace | str | PathLike[str],
    b: Trace | str | PathLike[str],
    top: int = ...,
    threads: int = ...,
    value_weighted: bool = ...,
) -> dict[str, np.ndarray]: ...

# {"kind": "boost", "heads": ["5.3", "6.*"], "keys": [(3, 7)], "rows": [...], "value": 3}; docs/steering.md
Intervention = dict[str, Any]
Steering = str | PathLike[str] | Intervention | Sequence[Intervention] | None
Tokens = Sequence[int] | np.ndarray

def load_steering(path: str | PathLike[str]) -> list[Intervention]: ...
def save_steering(path: Path, steering: Steering) -> None: ...
def calibrate(control: Run, spans: Sequence[Span], heads: Sequence[str] | str = ...) -> list[Intervention]: ...
def adaptive_temperature(run: Run) -> list[Intervention]: ...

class Model:
    threads: int
    def __init__(
        self, path: Path, precision: Literal["f32", "bf16"] = ..., threads: int = ...,
        attention: Literal["f32", "bf16"] = ...,
    ) -> None: ...
    @property
    def facts(self) -> dict[str, Any]: ...
    def encode(self, text: str, chat: bool = ..., bos: bool | None = ...) -> np.ndarray: ...
    def decode(self, tokens: Tokens) -> str: ...
    def span(self, tokens: str | Tokens, text: str) -> Span: ...
    def run(
        self,
        text: str | Tokens,
        steering: Steering = ...,
        measures: Sequence[str] | str = ...,
        spans: Spans = ...,
        *,
        beyond: Beyond = ...,
        chat: bool = ...,
        bos: bool | None = ...,
        pool_block: int = ...,
        title: str = ...,
        threads: int = ...,
    ) -> Run: ...
    def trace(
        self,
        text: str | Tokens,
        path: Path,
        *,
        store: Literal["f16", "bf16", "f32"] = ...,
        measures: Sequence[str] | str = ...,
        spans: Spans = ...,
        steering: Steering = ...,
        window: int | None = ...,
        sinks: int = ...,
        beyond: Beyond = ...,
        chat: bool = ...,
        bos: bool | None = ...,
        pool_block: int = ...,
        title: str = ...,
        threads: int = ...,
    ) -> Trace: ...
    def generate(
        self,
        prompt: str | Tokens,
        count: int = ...,
        steering: Steering = ...,
        temperature: float = ...,
        top_k: int = ...,
        top_p: float = ...,
        seed: int = ...,
        *,
        chat: bool = ...,
        bos: bool | None = ...,
    ) -> str: ...
    def mean_ablation(self, text: str | Tokens, heads: Sequence[str] | str) -> Intervention: ...

class Finding:
    check: str
    severity: Literal["note", "warning", "error"]
    head: tuple[int, int] | None
    heads: list[tuple[int, int]]
    token: int | None
    last: int | None
    value: float
    limit: float
    sentence: str
    advice: str
    undone_by: str
    mend: str
    steering: list[Intervention]

def diagnose(
    what: Run | str | PathLike[str] | Tokens,
    *,
    model: Model | str | PathLike[str] | None = ...,
    against: Run | str | PathLike[str] | None = ...,
    irrelevant: Sequence[Span] = ...,
    steering: Steering = ...,
    window: int | None = ...,
    sinks: int = ...,
    document: Sequence[int] | None = ...,
    checks: Sequence[str] | str = ...,
    probes: bool = ...,
    threads: int = ...,
) -> list[Finding]: ...

class Roles:
    data: dict[str, Any]
    recipes: list[str]
    names: np.ndarray
    def __init__(self, data: dict[str, Any]) -> None: ...
    def of(self, layer: Head, head: int = ...) -> dict[str, Any]: ...
    def scores(self, recipe: str) -> np.ndarray: ...
    def heads(self, recipe: str) -> list[tuple[int, int]]: ...

@overload
def roles(of: Run) -> Roles | None: ...
@overload
def roles(
    of: Model | str | PathLike[str],
    samples: int = ...,
    seed: int = ...,
    draws: int = ...,
    corpus: str = ...,
    cache: bool = ...,
    threads: int = ...,
) -> Roles: ...
