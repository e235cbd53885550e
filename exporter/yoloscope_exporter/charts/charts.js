// What the live page and reports share of their charts.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
const figures = (value, digits = 3) => {
  if (value === 0) return '0'
  return Math.abs(value) >= 10 ** digits ? Math.round(value).toString() : Number(value.toPrecision(digits)).toString()
}

/** The cursor is shared; a selection is not, or each chart would zoom by its own. */
const follows = (type) => type.startsWith('mousemove') || type.startsWith('mouseleave')
/** A cursor that all charts of a page share; a double click calls `whole`. */
const sharedCursor = (whole) => ({
  y: false, sync: { key: 'page', scales: ['x', null], filters: { pub: follows } }, drag: { setScale: false },
  bind: { dblclick: () => () => whole() },
})
/** A hook for what is selected: `zoom` gets its beginning and its end. */
const selecting = (zoom) => (plot) => {
  if (plot.select.width < 5) return
  const [begin, width] = [plot.select.left, plot.select.width]
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
  zoom([plot.posToVal(begin, 'x'), plot.posToVal(begin + width, 'x')])
}
/** Keys on a chart that shows [begin, end]: arrows move the cursor, + and - zoom, Escape zooms to null. */
const chartKey = (event, plot, [begin, end], zoom) => {
  const by = (factor) => {
    const middle = plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, 'x') : (begin + end) / 2
    zoom([middle - (middle - begin) * factor, middle + (end - middle) * factor])
  }
  const move = (step) => {
    const times = plot.data[0]
    const at = Math.min(Math.max((plot.cursor.idx ?? times.length) + step, 0), times.length - 1)
    plot.setCursor({ left: plot.valToPos(times[at], 'x'), top: plot.over.clientHeight / 2 }, true, true)
  }
  const keys = {
    ArrowLeft: () => move(-1), ArrowRight: () => move(1), '+': () => by(0.5), '=': () => by(0.5), '-': () => by(2),
    Escape: () => zoom(null),
  }
  if (!keys[event.key]) return
  event.preventDefault()
  keys[event.key]()
}
const axisLook = () => ({
  stroke: css('soft'), font: '11px system-ui', grid: { stroke: css('line'), width: 1 }, ticks: { show: false },
})
/** From 0, or below it, to a little above the most. */
const roomFor = (least, most) => {
  if (least === null) return [0, 1]
  const low = Math.min(0, least)
  return [low, most > low ? most + 0.05 * (most - low) : low + 1]
}
/** A chart is as wide as the place it stands in. */
const keepWidths = (charts, parent) => new ResizeObserver(() => {
  for (const { plot, figure } of charts) {
    if (plot && figure.clientWidth && figure.clientWidth !== plot.width) plot.setSize({ width: figure.clientWidth, height: plot.height })
  }
}).observe(parent)
/** Lines take other colours. */
const whenColoursChange = (again) => matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again)
