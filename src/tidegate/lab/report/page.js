// Draws every chart in the colours of the page, and again when the reader turns light to dark.
(() => {
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true, displaylogo: false,
    // Named one by one: others would offer to send the data to a service.
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };

  function paint(layout) {
    const css = getComputedStyle(document.documentElement);
    const [ink, soft, paper, sheet, line, grid] = ["ink", "soft", "paper", "sheet", "line", "grid"].map(
      (name) => css.getPropertyValue("--" + name).trim());
    layout.font = { color: ink, size: 13, family: getComputedStyle(document.body).fontFamily };
    layout.hoverlabel = { bgcolor: sheet, bordercolor: line, font: { color: ink } };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink };
    layout.legend.bgcolor = "rgba(0,0,0,0)";
    for (const axis of [layout.xaxis, layout.yaxis]) {
      Object.assign(axis, { gridcolor: grid, linecolor: line, zerolinecolor: grid, tickcolor: line });
      if (axis.title) axis.title.font = { color: soft, size: 13 };
    }
    if (layout.xaxis.rangeselector) {
      Object.assign(layout.xaxis.rangeselector, { bgcolor: sheet, activecolor: line, font: { color: ink, size: 12 } });
    }
    // A finger that scrolls the page must not zoom a chart; the buttons above it still do.
    if (touch) layout.dragmode = false;
  }

  const charts = [...document.querySelectorAll("script[data-chart]")].map((source) => {
    const { data, layout } = JSON.parse(source.textContent);
    const div = document.getElementById(source.dataset.chart);
    paint(layout);
    // On a telephone the legend below a chart takes two lines more.
    if (layout.legend.yref === "container" && div.clientWidth < 560) layout.margin.b += 40;
    Plotly.newPlot(div, data, layout, config);
    return div;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const div of charts) {
      paint(div.layout);
      Plotly.react(div, div.data, div.layout, config);
    }
  });
})();
