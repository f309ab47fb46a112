// Draws the plots of the bench's report when they come into view: a full session has many of them.
(() => {
  const figures = JSON.parse(document.getElementById("data").textContent);
  const grid = {gridcolor: "#e8ecf0", zerolinecolor: "#b8c2cc", automargin: true};
  const base = {
    margin: {l: 62, r: 14, t: 8, b: 44}, hovermode: "closest", showlegend: true,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, 'Segoe UI', 'Liberation Sans', sans-serif", size: 12, color: "#1c2733"},
    legend: {orientation: "h", y: 1.02, yanchor: "bottom", x: 0},
  };
  const draw = (plot, figure) => Plotly.newPlot(plot, figure.traces, {
    ...base, ...figure.layout,
    xaxis: {...grid, title: {text: "seconds since the procedure began"}}, yaxis: {...grid, ...figure.layout.yaxis},
  }, {responsive: true, displaylogo: false});
  const seen = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e => {
    seen.unobserve(e.target);
    draw(e.target, figures[Number(e.target.id.slice(5))]);
  }), {rootMargin: "400px"});
  figures.forEach((_, i) => seen.observe(document.getElementById("plot-" + i)));
})();
