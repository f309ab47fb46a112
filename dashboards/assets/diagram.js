/* The single-line diagram on a canvas: 10,000 buses take a few milliseconds, without a graphics card.
   The server says where things lie (once) and, for a step, each value and its class; here it is only drawn. */
"use strict";

window.dash_clientside = window.dash_clientside || {};
window.vppDiagram = (() => {
  const self = { geometry: null, step: -1, wanted: -1, vm: null, loading: null, vmClass: null, loadingClass: null,
    layer: "true", estimate: null };
  let canvas, pen, tip, box, area = { w: 0, h: 0 };
  let view = { scale: 1, x: 0, y: 0 }, px = [], py = [], drag = null, selected = -1, chosen = -1, hover = null, queued = false;
  const UNKNOWN = 255, OPEN = -1, NEAR = 9, EDGE = 34;

  /* Into the page, again whenever the page has been left and entered. */
  async function attach() {
    const host = document.getElementById("diagram");
    if (!host) return false;
    if (!self.geometry) self.geometry = prepare(await (await fetch("api/network")).json());
    if (box === host && canvas.isConnected) return true;
    if (host.firstChild) return true;
    box = host;
    canvas = host.appendChild(document.createElement("canvas"));
    tip = host.appendChild(document.createElement("div"));
    tip.className = "tip";
    pen = canvas.getContext("2d");
    view = { scale: 1, x: 0, y: 0 };
    canvas.addEventListener("wheel", zoom, { passive: false });
    canvas.addEventListener("pointerdown", (e) => { drag = { x: e.offsetX, y: e.offsetY, moved: false }; canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointerleave", () => { if (!drag) point(null); });
    canvas.addEventListener("dblclick", () => { view = { scale: 1, x: 0, y: 0 }; place(); });
    new ResizeObserver(resize).observe(host);
    resize();
    return true;
  }

  function prepare(g) {
    const range = (a) => a.reduce(([lo, hi], v) => [Math.min(lo, v), Math.max(hi, v)], [Infinity, -Infinity]);
    [g.x0, g.x1] = range(g.buses.x);
    [g.y0, g.y1] = range(g.buses.y);
    g.top = Math.max(...g.buses.vn_kv.slice(0, 1), ...range(g.buses.vn_kv).filter(Number.isFinite));
    const n = g.buses.x.length;
    g.radius = n <= 30 ? 8 : n <= 150 ? 6 : n <= 600 ? 4.5 : n <= 3000 ? 3 : 2;
    return g;
  }

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    area = { w: box.clientWidth, h: box.clientHeight };
    canvas.width = Math.round(area.w * ratio);
    canvas.height = Math.round(area.h * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    place();
  }

  /* Screen positions: both axes fill the area, neither stretched more than 2.5 times the other. */
  function place() {
    const g = self.geometry, w = area.w - 2 * EDGE, h = area.h - 2 * EDGE;
    let sx = w / (g.x1 - g.x0 || 1), sy = h / (g.y1 - g.y0 || 1);
    sx = Math.min(sx, 2.5 * sy); sy = Math.min(sy, 2.5 * sx);
    const mx = (g.x0 + g.x1) / 2, my = (g.y0 + g.y1) / 2, cx = area.w / 2, cy = area.h / 2;
    px = g.buses.x.map((x) => cx + view.x + (x - mx) * sx * view.scale);
    py = g.buses.y.map((y) => cy + view.y - (y - my) * sy * view.scale);
    draw();
  }

  /* Once a frame at most. */
  function draw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; if (canvas && canvas.isConnected) paint(); });
  }

  function paint() {
    const g = self.geometry;
    pen.clearRect(0, 0, area.w, area.h);
    pen.lineCap = "round";
    const thin = g.buses.x.length > 3000 && view.scale < 3 ? 0.6 : 1;
    if (chosen >= 0) stroke(chosen, "#2f3b45", 9);
    lines(OPEN, g.style.open, thin, [2, 5]);
    g.style.loading.forEach((color, c) => lines(c, color, g.style.width[c] * thin, []));
    lines(UNKNOWN, g.style.unknown, 1.4 * thin, [4, 4]);
    const r = g.radius * Math.min(3, Math.sqrt(view.scale));
    const calm = Math.floor(g.style.voltage.length / 2);
    const order = g.style.voltage.map((_, c) => c).sort((a, b) => Math.abs(a - calm) - Math.abs(b - calm));
    for (const c of order) dots(c, g.style.voltage[c], c === 0 || c === g.style.voltage.length - 1 ? r * 1.35 : r);
    hollow(r);
    if (self.estimate) marks(r);
    if (selected >= 0 && chosen < 0) ring(selected, r + 5, "#2f3b45");
    if (hover && hover.bus !== undefined) ring(hover.bus, r + 3, "#6d7a86");
  }

  function lines(cls, color, width, dash) {
    const b = self.geometry.branches;
    pen.beginPath();
    for (let i = 0; i < b.from.length; i++) {
      if ((b.closed[i] ? classOf(shown().loading, i, 0) : OPEN) !== cls || b.from[i] < 0 || b.to[i] < 0) continue;
      pen.moveTo(px[b.from[i]], py[b.from[i]]);
      pen.lineTo(px[b.to[i]], py[b.to[i]]);
    }
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.stroke();
    pen.setLineDash([]);
  }

  function dots(cls, color, r) {
    const vn = self.geometry.buses.vn_kv, top = self.geometry.top;
    pen.beginPath();
    for (let i = 0; i < px.length; i++) {
      if (classOf(shown().vm, i, UNKNOWN) === cls) shape(px[i], py[i], r, vn[i] === top);
    }
    pen.fillStyle = color;
    pen.fill();
    if (r < 2.5) return;
    pen.strokeStyle = "#ffffff";
    pen.lineWidth = 1;
    pen.stroke();
  }

  function shape(x, y, r, square) {
    if (square) return pen.rect(x - r, y - r, 2 * r, 2 * r);
    pen.moveTo(x + r, y);
    pen.arc(x, y, r, 0, 2 * Math.PI);
  }

  /* Not known: an empty circle with a cross. */
  function hollow(r) {
    const d = r * 0.7;
    pen.beginPath();
    for (let i = 0; i < px.length; i++) {
      if (classOf(shown().vm, i, UNKNOWN) !== UNKNOWN) continue;
      shape(px[i], py[i], r, false);
      pen.moveTo(px[i] - d, py[i] - d); pen.lineTo(px[i] + d, py[i] + d);
      pen.moveTo(px[i] - d, py[i] + d); pen.lineTo(px[i] + d, py[i] - d);
    }
    pen.fillStyle = "#ffffff";
    pen.fill();
    pen.strokeStyle = self.vmClass ? self.geometry.style.unknown : "#c6ccd1";
    pen.lineWidth = 1.3;
    pen.stroke();
  }

  /* The classes that are coloured: of what is true, estimated or measured (flows have no measured loading). */
  function shown() {
    const e = self.estimate;
    if (!e || self.layer === "true") return { vm: self.vmClass, loading: self.loadingClass };
    return { vm: self.layer === "measured" ? e.measuredClass : e.vmClass, loading: e.loadingClass };
  }

  function stroke(i, color, width) {
    const b = self.geometry.branches;
    pen.beginPath();
    pen.moveTo(px[b.from[i]], py[b.from[i]]);
    pen.lineTo(px[b.to[i]], py[b.to[i]]);
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.stroke();
    pen.strokeStyle = "#ffffff";
    pen.lineWidth = width - 4;
    pen.stroke();
  }

  /* Suspicions: a triangle for a meter, a diamond for the state of a branch. */
  function marks(r) {
    const e = self.estimate, b = self.geometry.branches, s = Math.max(5, r);
    pen.beginPath();
    for (let i = 0; i < px.length; i++) if (e.busMark[i]) triangle(px[i], py[i] - r - s - 2, s);
    for (let i = 0; i < b.from.length; i++) {
      if (!e.branchMark[i] || b.from[i] < 0 || b.to[i] < 0) continue;
      const x = (px[b.from[i]] + px[b.to[i]]) / 2, y = (py[b.from[i]] + py[b.to[i]]) / 2;
      if (e.branchMark[i] & 2) diamond(x, y, s); else triangle(x, y, s);
    }
    pen.fillStyle = self.geometry.style.suspect;
    pen.fill();
    pen.strokeStyle = "#ffffff";
    pen.lineWidth = 1.2;
    pen.stroke();
  }

  function triangle(x, y, s) {
    pen.moveTo(x, y - s); pen.lineTo(x + s, y + 0.8 * s); pen.lineTo(x - s, y + 0.8 * s); pen.closePath();
  }

  function diamond(x, y, s) {
    pen.moveTo(x, y - s); pen.lineTo(x + s, y); pen.lineTo(x, y + s); pen.lineTo(x - s, y); pen.closePath();
  }

  function ring(i, r, color) {
    pen.beginPath();
    pen.arc(px[i], py[i], r, 0, 2 * Math.PI);
    pen.strokeStyle = color;
    pen.lineWidth = 2;
    pen.stroke();
  }

  const classOf = (classes, i, otherwise) => (classes ? classes[i] : otherwise);

  function zoom(e) {
    e.preventDefault();
    const factor = Math.min(400, Math.max(1, view.scale * Math.exp(-e.deltaY / 400))) / view.scale;
    const cx = area.w / 2, cy = area.h / 2;
    view.x = (view.x - (e.offsetX - cx)) * factor + (e.offsetX - cx);
    view.y = (view.y - (e.offsetY - cy)) * factor + (e.offsetY - cy);
    view.scale *= factor;
    if (view.scale === 1) view.x = view.y = 0;
    place();
  }

  function move(e) {
    if (!drag) return point(find(e.offsetX, e.offsetY), e);
    const dx = e.offsetX - drag.x, dy = e.offsetY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    view.x += dx; view.y += dy;
    drag = { x: e.offsetX, y: e.offsetY, moved: true };
    point(null);
    place();
  }

  function release(e) {
    const click = drag && !drag.moved;
    drag = null;
    const at = click ? find(e.offsetX, e.offsetY) : null;
    if (!at) return;
    if (at.bus !== undefined) window.dash_clientside.set_props("bus", { data: at.bus });
    window.dash_clientside.set_props("branch", { data: at.branch === undefined ? -1 : at.branch });
  }

  /* The bus under the pointer, else the branch. */
  function find(x, y) {
    let best = Math.max(NEAR, self.geometry.radius + 3), found = null;
    for (let i = 0; i < px.length; i++) {
      const d = Math.hypot(px[i] - x, py[i] - y);
      if (d < best) { best = d; found = { bus: i }; }
    }
    if (found) return found;
    best = 6;
    const b = self.geometry.branches;
    for (let i = 0; i < b.from.length; i++) {
      if (b.from[i] < 0 || b.to[i] < 0) continue;
      const d = distance(x, y, b.from[i], b.to[i]);
      if (d < best) { best = d; found = { branch: i }; }
    }
    return found;
  }

  function distance(x, y, a, b) {
    const dx = px[b] - px[a], dy = py[b] - py[a], length = dx * dx + dy * dy || 1;
    const t = Math.max(0, Math.min(1, ((x - px[a]) * dx + (y - py[a]) * dy) / length));
    return Math.hypot(x - px[a] - t * dx, y - py[a] - t * dy);
  }

  function point(found, e) {
    const changed = JSON.stringify(found) !== JSON.stringify(hover);
    hover = found;
    tip.style.display = found ? "block" : "none";
    if (found) {
      tip.textContent = describe(found);
      const x = e.offsetX + 14, y = e.offsetY + 14;
      tip.style.left = Math.min(x, area.w - tip.offsetWidth - 4) + "px";
      tip.style.top = (y + tip.offsetHeight > area.h ? y - tip.offsetHeight - 24 : y) + "px";
    }
    canvas.style.cursor = found ? "pointer" : "grab";
    if (changed) draw();
  }

  function describe({ bus, branch }) {
    const g = self.geometry, known = (v, digits, unit) => (Number.isFinite(v) ? v.toFixed(digits) + " " + unit : "not known");
    if (branch !== undefined) {
      const loading = self.loading ? 100 * self.loading[branch] : NaN;
      const told = g.branches.closed[branch] ? `loading ${known(loading, 1, "%")}` : "open";
      return [g.branches.name[branch], told, ...guessed(self.estimate, branch, true, known)].join("\n");
    }
    const vm = self.vm ? self.vm[bus] : NaN, kv = g.buses.vn_kv[bus], count = g.buses.resources[bus];
    const volts = kv ? `${known(vm, 4, "pu")}${Number.isFinite(vm) ? ` · ${(vm * kv).toFixed(kv < 1 ? 4 : 2)} kV` : ""}` : known(vm, 4, "pu");
    const told = [g.buses.name[bus], `voltage ${volts}`, ...guessed(self.estimate, bus, false, known)];
    return [...told, `${count} resource${count === 1 ? "" : "s"}`].join("\n");
  }

  /* What was estimated and measured there, and what is suspected. */
  function guessed(e, i, branch, known) {
    if (!e) return [];
    const pm = (v, s, digits, unit) => (Number.isFinite(v) ? `${v.toFixed(digits)} ± ${s.toFixed(digits)} ${unit}` : "not known");
    const lines = branch
      ? [`estimated ${pm(100 * e.loading[i], 100 * e.loadingSigma[i], 1, "%")}`]
      : [`estimated ${pm(e.vm[i], e.sigma[i], 4, "pu")}`];
    if (!branch && Number.isFinite(e.measured[i])) lines.push(`measured ${known(e.measured[i], 4, "pu")}`);
    const mark = (branch ? e.branchMark : e.busMark)[i];
    if (mark & 1) lines.push("a meter here is taken for wrong");
    if (mark & 2) lines.push("its state is doubted");
    return lines;
  }

  /* Show a step. While one is on its way, only the newest wish is kept. */
  async function show(k, bus, branch) {
    if (!(await attach())) return;
    selected = bus;
    chosen = branch;
    draw();
    const idle = self.wanted < 0;
    self.wanted = k;
    if (!idle) return;
    try {
      while (self.wanted >= 0 && self.wanted !== self.step) {
        const asked = self.wanted;
        const answer = await fetch(`api/network/${asked}`);
        if (answer.status === 200) take(asked, await answer.arrayBuffer());
        if (self.wanted === asked) break;
      }
    } finally {
      self.wanted = -1;
    }
  }

  function take(k, bytes) {
    const n = self.geometry.buses.x.length, m = self.geometry.branches.from.length;
    let at = 0;
    const floats = (size) => { const part = new Float32Array(bytes, at, size); at += 4 * size; return part; };
    const octets = (size) => { const part = new Uint8Array(bytes, at, size); at += size; return part; };
    const guess = self.geometry.estimate;
    self.vm = floats(n);
    self.loading = floats(m);
    const e = guess ? { vm: floats(n), sigma: floats(n), measured: floats(n), loading: floats(m), loadingSigma: floats(m) } : null;
    self.vmClass = octets(n);
    self.loadingClass = octets(m);
    if (guess) {
      Object.assign(e, { vmClass: octets(n), loadingClass: octets(m), measuredClass: octets(n), busMark: octets(n), branchMark: octets(m) });
    }
    self.estimate = e;
    self.step = k;
    draw();
  }

  self.show = show;
  self.colour = (layer) => { self.layer = layer || "true"; draw(); };
  self.where = (bus) => ({ x: px[bus], y: py[bus] });
  return self;
})();

window.dash_clientside.vpp = {
  draw: (k, bus, branch) => {
    window.vppDiagram.show(k, bus, branch);
    return k;
  },
  colour: (layer) => {
    window.vppDiagram.colour(layer);
    return layer;
  },
  move: (first, back, forward, last, ticks, k, most) => {
    const by = window.dash_clientside.callback_context.triggered[0].prop_id.split(".")[0];
    const busy = window.vppDiagram.wanted >= 0 && by === "play";
    const to = { "step-first": 0, "step-back": k - 1, "step-forward": k + 1, "step-last": most, play: k + 1 }[by];
    return busy || to === undefined || to < 0 || to > most ? window.dash_clientside.no_update : to;
  },
  toggle: (clicks, k, most, off) => {
    const clicked = window.dash_clientside.callback_context.triggered.some((t) => t.prop_id.startsWith("step-toggle"));
    const stop = clicked ? !off : off || k >= most;
    return [stop, stop ? "▶ Play" : "❚❚ Pause"];
  },
};
