"""The look of a report: light, dark and on paper, from the fonts and colours a browser has."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root{color-scheme:light dark;--bg:#fff;--card:#f6f7f9;--ink:#1b1f24;--dim:#5d6672;--rule:#dde1e6;--own:#1f6feb;
--hold:#8b949e;--fall:#c93c37;--gain:#1a7f37;--other:#b35900;--warn:#fff4d6;--warnink:#6b4e00}
@media (prefers-color-scheme:dark){:root{--bg:#0f1216;--card:#171b21;--ink:#e4e8ec;--dim:#97a1ad;--rule:#2c333c;
--own:#5aa2ff;--hold:#7d8792;--fall:#ff7b72;--gain:#4ac26b;--other:#f0a35e;--warn:#3a2f0f;--warnink:#f3d58a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:38px 0 8px}
p{margin:6px 0;max-width:76ch}.dim,figcaption,th{color:var(--dim)}code{font:13px ui-monospace,Menlo,Consolas,monospace}
.lead{display:flex;flex-wrap:wrap;gap:10px;margin:18px 0}.lead div{background:var(--card);border-radius:8px;
padding:10px 16px;flex:1 1 150px}.lead b{display:block;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.lead span{color:var(--dim);font-size:13px}
.warn{background:var(--warn);color:var(--warnink);border-radius:8px;padding:10px 16px;margin:14px 0}
.warn p{margin:2px 0;max-width:none}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top;white-space:nowrap}
th{font-weight:500;font-size:13px}th:first-child,td:first-child{text-align:left}td.text,th.text{text-align:left;
white-space:normal}td small{display:block;color:var(--dim);font-size:12px;white-space:normal}
table.even{table-layout:fixed;min-width:900px}table.even th:first-child{width:16%}
td.own{font-weight:600}td.good{color:var(--gain)}td.bad{color:var(--fall)}
figure{margin:8px 0}svg{display:block;width:100%;height:auto}figcaption{font-size:13px;margin-top:4px}
.key{display:inline-block;width:18px;height:0;border-top:3px solid;margin:0 5px 3px 14px;vertical-align:middle}
.key.dot{width:8px;height:8px;border:0;border-radius:50%;background:currentColor;margin-bottom:1px}
.key.own,.key.long{color:var(--own)}.key.hold{color:var(--hold)}.key.short{color:var(--other)}.key.chance{color:var(--hold)}
.axis{fill:var(--dim);font-size:12px}.value{fill:var(--ink)}.grid{stroke:var(--rule);fill:none}
.zero{stroke:var(--dim);fill:none}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.area{opacity:.18;stroke:none}
.line.own{stroke:var(--own)}.area.own{fill:var(--own)}.line.hold{stroke:var(--hold)}.line.fall{stroke:var(--fall)}
.area.fall{fill:var(--fall)}.line.net{stroke:var(--other)}.line.chance{stroke:var(--ink)}
.dots{opacity:.65}.dots.long{fill:var(--own)}.dots.short{fill:var(--other)}
.bar.gain{fill:var(--gain)}.bar.loss{fill:var(--fall)}.bar.sum{fill:var(--own)}.bar.chance{fill:var(--hold);opacity:.45}
footer{margin-top:44px;color:var(--dim);font-size:13px}
@media print{:root{--bg:#fff;--card:#f3f3f3;--ink:#000;--dim:#444;--rule:#ccc;--own:#1f6feb;--hold:#777;--fall:#b3261e;
--gain:#176f30;--other:#a85200;--warn:#fff;--warnink:#000}main{max-width:none;padding:0}body{font-size:11pt}
figure,table,.lead,.warn{break-inside:avoid}h2,h3{break-after:avoid}.warn{border:1px solid #999}.wide{overflow:visible}}
"""
