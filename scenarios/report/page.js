// Draws the plots of the report: the x values and the time axis are shared, and zooming one zooms all.
(() => {
  const {x, xaxis, figures} = JSON.parse(document.getElementById("data").textContent);
  const base = {
    margin: {l: 62, r: 14, t: 8, b: 44}, hovermode: "x unified", showlegend: true,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, 'Segoe UI', 'Liberation Sans', sans-serif", size: 12, color: "#1c2733"},
    legend: {orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: {size: 12}},
    hoverlabel: {namelength: 48},
  };
  const grid = {gridcolor: "#e8ecf0", zerolinecolor: "#b8c2cc", automargin: true, ticks: "outside", ticklen: 5, tickcolor: "rgba(0,0,0,0)"};
  const config = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};
  const plots = figures.map((figure, i) => {
    const plot = document.getElementById("plot-" + i);
    const own = "xaxis" in figure.layout;  // not over time
    const time = {...grid, ...xaxis, title: {...xaxis.title, font: {size: 11, color: "#5f6b7a"}}};
    const narrow = plot.clientWidth < 560 ? {legend: base.legend} : {};  // no room for a legend beside it
    Plotly.newPlot(plot, figure.traces.map(trace => own ? trace : {...trace, x}),
      {...base, ...figure.layout, ...narrow, xaxis: own ? {...grid, ...figure.layout.xaxis} : time, yaxis: {...grid, ...figure.layout.yaxis}}, config);
    return own ? null : plot;
  }).filter(Boolean);
  let following = false;
  for (const plot of plots) plot.on("plotly_relayout", change => {
    const ranged = "xaxis.range[0]" in change || "xaxis.autorange" in change;
    if (following || !ranged) return;
    following = true;
    const same = "xaxis.autorange" in change ? {"xaxis.autorange": true}
      : {"xaxis.range": [change["xaxis.range[0]"], change["xaxis.range[1]"]]};
    Promise.all(plots.filter(other => other !== plot).map(other => Plotly.relayout(other, same)))
      .finally(() => { following = false; });
  });
})();
