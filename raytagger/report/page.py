"""The page: sections in a frame that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from raytagger.report import sections
from raytagger.report.bias import bias_curve
from raytagger.report.calibration import probabilities
from raytagger.report.members import kept_tags, members
from raytagger.report.subject import Subject

STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#5a6475;--paper:#fff;--card:#f6f7f9;--edge:#d9dde4;--own:#e8f1fb;
--c0:#0061a8;--c1:#c25700;--c2:#00785a;--c3:#a3477d;--right:#00694f;--wrong:#a83200}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#a4adbd;--paper:#14171d;--card:#1d222b;--edge:#353c49;
--own:#1b3048;--c0:#64b5f0;--c1:#f0a45a;--c2:#4cc9a2;--c3:#e293c2;--right:#5fd3ae;--wrong:#ff9b78}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.7rem;margin:.2em 0}h2{font-size:1.25rem;margin:2.2em 0 .3em}h3{font-size:1.02rem;margin:1.4em 0 .4em}
h4{margin:0 0 .3em;font-size:.95rem}
p{margin:.4em 0;max-width:74ch;overflow-wrap:anywhere}.lead{font-size:1.08rem}.note,figcaption,small,dd,header p{color:var(--soft)}
.note,figcaption{font-size:.88rem}
.wide{overflow-x:auto;margin:.8em 0}table{border-collapse:collapse;min-width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.42em .7em;border-bottom:1px solid var(--edge);text-align:right;vertical-align:top}
th:first-child{text-align:left;font-weight:500;min-width:11em;max-width:30em;overflow-wrap:anywhere}
thead th{font-weight:600;color:var(--soft);font-size:.86rem}td small{display:block;font-size:.76rem;white-space:nowrap}
tr.own th,tr.own td{background:var(--own);font-weight:600}tr.other th,tr.other td{color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:18px}
figure{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:12px;min-width:0;max-width:600px}
figure>svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:12px}
@media(max-width:520px){svg text{font-size:14px}}
.grid{stroke:var(--edge);stroke-width:1}.line{fill:none;stroke-width:2}.ideal{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4}.mark{fill-opacity:.85}
.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}
.mark.c0{fill:var(--c0)}.mark.c1{fill:var(--c1)}.mark.c2{fill:var(--c2)}.mark.c3{fill:var(--c3)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;padding:0;margin:.5em 0;font-size:.88rem}
.legend svg{width:14px;height:14px;margin-right:6px;vertical-align:-2px}
article{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:12px 14px;margin:.7em 0}
.tags{display:flex;flex-wrap:wrap;gap:6px;list-style:none;padding:0;margin:.5em 0 0}
.tags li{border:1px solid var(--edge);border-radius:999px;padding:.1em .7em;font-size:.88rem;overflow-wrap:anywhere}
.right{color:var(--right);border-color:currentColor!important}.wrong{color:var(--wrong);border-color:currentColor!important}
.missed{color:var(--soft);border-style:dashed!important}
details{margin:.8em 0}summary{cursor:pointer;font-weight:600}dl{margin:.5em 0;max-width:80ch}
dt{font-weight:600;margin-top:.5em}dd{margin:0}
pre{overflow:auto;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:12px;font-size:.82rem}
"""


def write_page(subject: Subject, beside: Sequence[Subject] = (), grouped: bool = False) -> str:
    """The whole report as one HTML text.

    Args:
        subject: what it is about.
        beside: other bundles, measured on the same documents.
        grouped: whether intervals are by groups of documents.
    """
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    body = "".join(
        [
            sections.headline(subject),
            sections.comparison(subject, beside, grouped),
            sections.glossary(),
            sections.label_groups(subject),
            bias_curve(subject, beside),
            probabilities(subject),
            kept_tags(subject),
            members(subject),
            sections.training_curves(subject),
            sections.label_planes(subject),
            sections.documents(subject),
            sections.labels_best_worst(subject),
            sections.facts(subject),
        ]
    )
    title = escape(f"Tagger report: {subject.name}")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
        f"<header><p>raytagger, {today}</p><h1>{title}</h1></header>{body}</main></body></html>\n"
    )
