// A report's charts: what they draw stands in the page, and all of them share a cursor and a zoom.

const HEIGHT = 240
let zoomed = null
const sinceBegin = (seconds) => {
  const [whole, pad] = [Math.round(seconds), (number) => String(number).padStart(2, '0')]
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  return `${hours ? `${hours}:${pad(minutes)}` : minutes}:${pad(whole % 60)}`
}
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]

const stretchOf = (chart) => zoomed ?? [0, Math.max(chart.times.at(-1), 1)]
const shade = (chart) => (plot) => {
  const { left, top, width, height } = plot.bbox
  plot.ctx.save()
  plot.ctx.fillStyle = css('band')
  for (const [begin, end] of chart.bands) {
    const from = Math.max(plot.valToPos(begin, 'x', true), left)
    const to = Math.min(plot.valToPos(end, 'x', true), left + width)
    if (to > left && from < left + width) plot.ctx.fillRect(from, top, Math.max(to - from, 1), height)
  }
  plot.ctx.restore()
}
const optionsOf = (chart) => ({
  width: Math.max(chart.figure.clientWidth, 200),
  height: HEIGHT,
  cursor: sharedCursor(() => zoomCharts(null)),
  scales: { x: { time: false, range: () => stretchOf(chart) }, y: { range: (_, least, most) => roomFor(least, most) } },
  axes: [
    { ...axisLook(), space: 70, size: 28, incrs: TIMES, values: (_, splits) => splits.map(sinceBegin) },
    { ...axisLook(), size: 56, values: (_, splits) => splits.map((value) => figures(value, 4)) },
  ],
  series: [
    { label: chart.figure.dataset.time, value: (plot, time) => sinceBegin(time ?? plot.data[0].at(-1)) },
    ...chart.lines.map((line) => ({
      label: line.name, stroke: css(`line-${line.colour}`), dash: line.dash, width: 1.6, spanGaps: true,
      points: { show: false },
      value: (plot, value, place, at) => {
        const told = at === null ? plot.data[place].findLast((one) => one !== null) : value
        return told === null || told === undefined ? '--' : figures(told, 4)
      },
    })),
  ],
  hooks: { drawClear: [shade(chart)], setSelect: [selecting(zoomCharts)] },
})
const drawChart = (chart) => {
  chart.plot?.destroy()
  const data = [chart.times, ...chart.lines.map((line) => line.values)]
  chart.plot = new uPlot(optionsOf(chart), data, chart.figure.querySelector('.plot'))
  chart.plot.root.querySelector('canvas').setAttribute('aria-hidden', 'true')
}
const drawn = []
const zoomCharts = (range) => {
  zoomed = range
  for (const chart of drawn) {
    const [min, max] = stretchOf(chart)
    chart.plot.setScale('x', { min, max })
  }
}
addEventListener('DOMContentLoaded', () => {
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const chart = { ...JSON.parse(figure.dataset.chart), figure, plot: null }
    figure.addEventListener('keydown', (event) => {
      if (event.target === figure) chartKey(event, chart.plot, stretchOf(chart), zoomCharts)
    })
    drawChart(chart)
    drawn.push(chart)
  }
  keepWidths(drawn, document.body)
  whenColoursChange(() => drawn.forEach(drawChart))
})
