"""The style sheet of the pages."""

from __future__ import annotations

STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 24px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 32px 0 10px; padding-bottom: 4px;
  border-bottom: 1px solid var(--line); }
p { margin: 4px 0; }
a { color: inherit; }
.muted { color: var(--muted); }
.warning { color: var(--bad); font-weight: 600; }
.mistake { color: var(--bad); }
.head { display: flex; flex-wrap: wrap; gap: 12px 48px; align-items: flex-start; }
.head > div { min-width: 0; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 16px; margin: 10px 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 14px 0 4px; color: var(--muted); font-weight: 600; }
.results { display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 18px 0 10px; }
.results strong { display: block; font-size: 26px; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.results span { color: var(--muted); }
.advice { margin: 4px 0 12px; max-width: 75ch; }
.pictures { display: grid; gap: 16px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.figure { overflow-x: auto; min-width: 0; }
.figure svg { display: block; width: 100%; height: auto; min-width: calc(0.85 * var(--width));
  max-width: calc(1.2 * var(--width)); stroke-linejoin: round; stroke-linecap: butt;
  font-family: inherit; }
.wide { grid-column: 1 / -1; }
.wide svg { min-width: calc(1.1 * var(--width)); }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 3px 12px 3px 0; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 12em; }
th { color: var(--muted); font-weight: 600; }
.number { text-align: right; }
.examples { display: grid; gap: 14px 12px;
  grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); }
.examples figure { margin: 0; font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }
.examples img { display: block; width: 96px; height: 96px; object-fit: contain;
  image-rendering: pixelated; border: 1px solid var(--line); margin-bottom: 4px; }
.sheet td, .sheet th { border: 0; padding: 0 8px 6px 0; }
.sheet th { font-weight: 400; font-size: 13px; }
.sheet img { display: block; width: 80px; height: 80px; object-fit: contain;
  image-rendering: pixelated; border: 1px solid var(--line); }
summary { cursor: pointer; }
.command span { display: inline-block; max-width: 100%; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
"""
