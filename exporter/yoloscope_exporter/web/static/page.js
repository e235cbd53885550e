// The live page: shows what /api/v1/events tells. Text from elsewhere is only ever set as text, never as markup.

const config = JSON.parse(document.body.dataset.config)
/** A text in the page's language, its `{name}`s filled in: English stands here, its Chinese in `language/zh_cn/page.py`. */
const say = (english, values = {}) => (config.texts[english] ?? english).replace(/\{(\w+)\}/g, (_, name) => values[name])
const $ = (id) => document.getElementById(id)
const inOrder = (a, b) => a.length - b.length || (a < b ? -1 : 1)

const make = (tag, properties = {}, ...children) => {
  const { data, ...rest } = properties
  const made = Object.assign(document.createElement(tag), rest)
  Object.assign(made.dataset, data)
  made.append(...children.filter((child) => child !== undefined && child !== null))
  return made
}
/** A list's or a table's children, replaced only where they differ, so that a focus or a selection stays. */
const put = (parent, children) => {
  const same = children.length === parent.children.length
  if (same && children.every((child, place) => child.isEqualNode(parent.children[place]))) return
  const focused = document.activeElement
  const place = [...parent.querySelectorAll('a,button')].indexOf(focused)
  parent.replaceChildren(...children)
  if (place >= 0) parent.querySelectorAll('a,button')[place]?.focus({ preventScroll: true })
}
const text = (element, value) => { if (element.textContent !== value) element.textContent = value }

// --- numbers ---------------------------------------------------------------------------------------------------------

const scaled = (value, units, base) => {
  let place = 0
  while (Math.abs(value) >= base && place < units.length - 1) { value /= base; place += 1 }
  return `${figures(value)} ${units[place]}`
}
const units = {
  ratio: (value) => `${figures(100 * value, Math.abs(value) >= 0.1 ? 3 : 2)} %`,
  seconds: (value) => value === 0 ? '0 s' : Math.abs(value) < 1 ? `${figures(1000 * value)} ms` : `${figures(value)} s`,
  bytes: (value) => scaled(value, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024),
  watts: (value) => `${figures(value)} W`,
  celsius: (value) => `${figures(value)} °C`,
}
const shown = (value, unit) => value === null || value === undefined ? '' : (units[unit] ?? ((one) => figures(one, 4)))(value)
const duration = (seconds) => {
  const whole = Math.round(seconds)
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  if (whole < 120) return `${whole} s`
  return `${hours}:${String(minutes).padStart(2, '0')}:${String(whole % 60).padStart(2, '0')}`
}
const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString('en-GB')
/** As `<input type="datetime-local">` has it. */
const local = (seconds) => {
  const date = new Date(1000 * seconds)
  return new Date(date - 60_000 * date.getTimezoneOffset()).toISOString().slice(0, 16)
}
/** The time of day, with the day where more than one is shown. */
const moment = (seconds) => view.days ? `${local(seconds).slice(5, 10)} ${clock(seconds)}` : clock(seconds)
/** What local time is ahead of UTC: +08:00. */
const offset = (seconds) => {
  const ahead = -new Date(1000 * seconds).getTimezoneOffset()
  const two = (number) => String(Math.floor(Math.abs(number))).padStart(2, '0')
  return `${ahead < 0 ? '-' : '+'}${two(ahead / 60)}:${two(ahead % 60)}`
}

// --- what has come ---------------------------------------------------------------------------------------------------

/** Of a Prometheus everything that it was asked for is shown. */
const SPAN = config.fleet ? Infinity : 3600
/** Lines by name and labels over common times; what is missing is null. */
const emptyLines = () => ({ times: [], lines: new Map() })
const past = { run: emptyLines(), gpus: emptyLines() }
const view = { minutes: 60, zoom: null, run: '', find: '', seconds: 3600, end: '', days: false, rank: '', events: [], drawn: false }
/** Time ranges that a Prometheus may be asked for, in seconds. */
const [SHORTEST, LONGEST] = config.range ?? [0, Infinity]
const readAddress = () => {
  const query = new URLSearchParams(location.search)
  const seconds = Math.min(Math.max(Number(query.get('seconds')) || 3600, SHORTEST), LONGEST)
  const [run, find] = ['run', 'find'].map((name) => query.get(name) ?? '')
  Object.assign(view, { run, find, seconds, end: Number(query.get('end')) || '' })
  $('find').value = find
}
readAddress()

const merge = (kept, news) => {
  const known = kept.times.length
  kept.times.push(...news.times)
  for (const { name, labels, values } of news.series) {
    const key = JSON.stringify([name, labels])
    if (!kept.lines.has(key)) kept.lines.set(key, { name, labels, values: [] })
    const line = kept.lines.get(key)
    while (line.values.length < known) line.values.push(null)
    line.values.push(...values)
  }
  const begin = kept.times.findIndex((time) => time >= kept.times.at(-1) - SPAN)
  for (const [key, line] of kept.lines) {
    while (line.values.length < kept.times.length) line.values.push(null)
    line.values.splice(0, Math.max(begin, 0))
    if (line.values.every((value) => value === null)) kept.lines.delete(key)
  }
  kept.times.splice(0, Math.max(begin, 0))
}
const linesOf = (of, name) => [...past[of].lines.values()].filter((line) => line.name === name)

// --- runs ------------------------------------------------------------------------------------------------------------

const severityOf = (run) => `severity-${run.severity ?? 'info'}`
const address = (run) => {
  const query = new URLSearchParams(location.search)
  query.set('run', run)
  return `?${query}`
}
const showRuns = (message) => {
  $('no-runs').hidden = message.total > 0
  put($('runs'), message.runs.map((run) => {
    const parts = [run.state_text]
    if (run.epoch && run.epochs) parts.push(say('epoch {epoch} of {epochs}', run))
    if (run.remaining_seconds !== undefined) parts.push(say('ETA {time}', { time: duration(run.remaining_seconds) }))
    if (run.images_per_second) parts.push(say('{rate} images/s', { rate: figures(run.images_per_second) }))
    const link = make('a', { href: address(run.run), className: severityOf(run), data: { run: run.run }, title: run.run },
      make('b', {}, make('i', { className: `state-${run.state}`, ariaHidden: 'true' }), run.run),
      make('span', { className: 'line' }, parts.map((part) => part.replaceAll(' ', '\u00a0')).join(' · ')))
    if (run.run === message.asked) link.setAttribute('aria-current', 'true')
    if (run.epochs) link.append(track(run.epoch / run.epochs, `state-${run.state}`))
    link.append(make('span', { className: 'line' }, run.verdict ? `${run.verdict}: ${run.title}` : say('No verdict yet.')))
    return make('li', {}, link)
  }))
  const more = message.matching - message.runs.length
  $('finding').hidden = message.total <= MANY && !more && !view.find
  const none = message.total && !message.matching ? say('No run has all of these words.') : ''
  text($('more-runs'), more > 0 ? say('{count} more runs are not listed; find them by name, state or verdict.', { count: more }) : none)
}
/** Runs among which one has to be looked for. */
const MANY = 12
let typed = 0
$('find').addEventListener('input', () => {
  clearTimeout(typed)
  typed = setTimeout(() => {
    const query = new URLSearchParams(location.search)
    if ($('find').value.trim()) query.set('find', $('find').value)
    else query.delete('find')
    history.replaceState(null, '', `?${query}`)
    view.find = query.get('find') ?? ''
    connect()
  }, 300)
})
/** Widths are set by the script: styles within the page are not allowed by its policy. */
const track = (share, mark) => {
  const inside = make('span', { className: mark })
  inside.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`
  return make('span', { className: 'track', ariaHidden: 'true' }, inside)
}
$('runs').addEventListener('click', (event) => {
  const link = event.target.closest('a')
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
  event.preventDefault()
  history.pushState(null, '', link.href)
  choose(link.dataset.run)
})
addEventListener('popstate', () => { readAddress(); anew() })
const choose = (run) => {
  view.run = run
  anew()
}
const anew = () => {
  view.zoom = null
  connect()
}

// --- the selected run ------------------------------------------------------------------------------------------------

const entry = (term, value) => value ? [make('dt', {}, term), make('dd', {}, value)] : []
const verdict = (one) => {
  const fix = make('div', { className: 'fix' }, make('code', {}, one.fix))
  if (one.copy) fix.append(make('button', { type: 'button', className: 'copy', data: { copy: one.copy } }, say('Copy')))
  const ranks = one.ranks.filter(Boolean)
  return make('article', { className: `verdict severity-${one.severity}` },
    make('h3', {}, `${one.name}: ${one.title}`),
    make('p', { className: 'soft' }, make('i', { ariaHidden: 'true' }), one.severity_text,
      ranks.length && view.ranks > 1 ? ` · ${say('rank {rank}', { rank: ranks.join(', ') })}` : ''),
    make('dl', {}, ...entry(say('Evidence'), one.evidence), ...entry(say('Cause'), one.cause),
      ...entry(say('Fix'), one.fix && fix), ...entry(say('Forecast'), one.gain),
      ...entry(say('Changes'), one.effect.join(', ')), ...entry(say('Verify'), one.verify && make('code', {}, one.verify))))
}
document.addEventListener('click', async (event) => {
  const button = event.target.closest('button.copy')
  if (!button) return
  await copied(button.dataset.copy)
  button.textContent = say('Copied')
  setTimeout(() => { button.textContent = say('Copy') }, 2000)
})
const copied = async (value) => {
  if (navigator.clipboard) {
    try { return await navigator.clipboard.writeText(value) } catch { /* not allowed: as below */ }
  }
  const area = make('textarea', { value, className: 'hidden' })  // over plain HTTP there is no clipboard
  document.body.append(area)
  area.select()
  document.execCommand('copy')
  area.remove()
}

const showRun = (message) => {
  const run = message.run
  $('run').hidden = !run && !message.asked
  if (!run) {
    text($('run-title'), message.asked ? say('The run {run} is not here any more.', { run: message.asked }) : '')
    for (const id of ['facts', 'verdicts', 'anatomy', 'parts', 'side', 'hang']) $(id).hidden = true
    return
  }
  for (const id of ['facts', 'verdicts']) $(id).hidden = false
  view.ranks = run.rank.length
  if (!run.rank.some((rank) => rank.rank === view.rank)) view.rank = run.rank[0].rank
  text($('run-title'), run.run)
  const facts = Object.entries(run.facts).map(([name, value]) => `${name}=${value}`)
  const setup = run.rank.find((rank) => rank.setup_stage)
  if (setup) {
    const done = setup.setup_progress === undefined ? '' : ` ${units.ratio(setup.setup_progress)}`
    facts.unshift(say('set-up: {stage}', { stage: setup.setup_stage + done }))
  }
  text($('facts'), [run.state_text, ...facts].join(' · '))
  $('hang').hidden = !run.hang
  text($('hang'), run.hang ?? '')
  const none = message.diagnosis ? say('No verdict yet.') : say('The diagnosis is switched off.')
  put($('verdicts'), run.verdicts.length ? run.verdicts.map(verdict) : [make('p', { className: 'soft' }, none)])
  showAnatomy(run)
  showRanks(run)
}

const showAnatomy = (run) => {
  const ranks = run.rank.map((rank) => rank.rank)
  $('anatomy').hidden = $('parts').hidden = !Object.keys(run.anatomy).length
  $('choose').hidden = ranks.length < 2
  put($('rank'), ranks.map((rank) => make('option', { value: rank, defaultSelected: rank === view.rank }, rank)))
  $('rank').value = view.rank
  const phases = run.anatomy[view.rank] ?? []
  const bar = make('div', { className: 'bar', ariaHidden: 'true' }, ...phases.map((one) => {
    const part = make('span', { className: `phase-${one.phase}`, title: `${one.phase} ${units.ratio(one.share)}` })
    part.style.width = `${100 * one.share}%`
    return part
  }))
  put($('bars'), [bar])
  put($('phases'), [
    row('th', [say('Phase'), say('Time'), say('Share')], 1),
    make('tbody', {}, ...phases.filter((one) => one.share >= 0.005).map((one) => make('tr', {},
      make('th', { scope: 'row' }, make('i', { className: `phase-${one.phase}`, ariaHidden: 'true' }), one.phase),
      make('td', { className: 'n' }, units.seconds(one.seconds)), make('td', { className: 'n' }, units.ratio(one.share))))),
  ])
  const rank = run.rank.find((one) => one.rank === view.rank)
  const queue = rank?.queue_capacity ? say('{ready} of {capacity} batches ready', { ready: rank.queue_depth ?? '?', capacity: rank.queue_capacity }) : ''
  text($('queue'), queue)
}
const row = (tag, cells, numbers = cells.length) => make('thead', {}, make('tr', {}, ...cells.map((cell, place) =>
  make(tag, { scope: 'col', className: place >= numbers ? 'n' : '' }, cell))))
$('rank').addEventListener('change', () => {
  view.rank = $('rank').value
  if (view.last) show(view.last)
})

const showRanks = (run) => {
  $('side').hidden = run.rank.length < 2
  if (run.rank.length < 2) return
  const columns = config.columns.filter((column) => run.rank.some((rank) => rank[column.name] !== undefined))
  put($('ranks'), [
    row('th', [say('rank'), say('state'), ...columns.map((column) => column.title)], 2),
    make('tbody', {}, ...run.rank.map((rank) => make('tr', {}, make('th', { scope: 'row' }, rank.rank),
      make('td', {}, make('i', { className: `state-${rank.state}`, ariaHidden: 'true' }), rank.state_text),
      ...columns.map((column) => make('td', { className: 'n' }, shown(rank[column.name], column.unit)))))),
  ])
}

// --- GPUs and events -------------------------------------------------------------------------------------------------

const showGpus = (node) => {
  $('no-gpus').hidden = node.gpus.length > 0
  text($('more-nodes'), node.nodes_left_out ? say('GPUs of {count} more nodes are not shown.', { count: node.nodes_left_out }) : '')
  put($('node-verdicts'), node.verdicts.map(verdict))
  put($('gpus'), node.gpus.map((gpu) => {
    const rows = []
    const add = (term, value, share, mark) => {
      if (value !== '') rows.push(make('dt', {}, term), make('dd', {}, value, share === undefined ? null : track(share, mark)))
    }
    if (!gpu.up) add(say('state'), say('does not answer'))
    add(say('Utilization'), shown(gpu.gpu_busy, 'ratio'), gpu.gpu_busy, 'state-train')
    const { memory_used_bytes: used, memory_total_bytes: total } = gpu
    if (total) add(say('GPU memory'), used === undefined ? '' : `${shown(used, 'bytes')} / ${shown(total, 'bytes')}`, used / total, 'phase-h2d')
    else if (gpu.up) add(say('GPU memory'), say('shares the memory of the node'))
    const limit = gpu.power_limit_watts
    add(say('Power'), gpu.power === undefined ? '' : shown(gpu.power, 'watts') + (limit ? ` / ${shown(limit, 'watts')}` : ''), limit ? gpu.power / limit : undefined, 'phase-data_wait')
    add(say('Temperature'), shown(gpu.temperature, 'celsius'))
    if (gpu.up) add(say('Throttled'), gpu.throttled.join(', ') || say('not throttled'))
    for (const { run, rank } of gpu.trains) add(say('Runs'), say('{run}, rank {rank}', { run, rank }))
    return make('li', { className: gpu.up ? 'tile' : 'tile lost' },
      make('h3', {}, `GPU ${gpu.gpu}${gpu.name ? ` · ${gpu.name}` : ''}`), make('dl', {}, ...rows))
  }))
}
const MOST_EVENTS = 100
const showEvents = (events, full) => {
  if (full) view.events = []
  view.events = [...view.events, ...events].slice(-MOST_EVENTS)
  $('no-events').hidden = view.events.length > 0
  put($('events'), view.events.toReversed().map((event) => make('li', { className: `severity-${event.severity}` },
    make('time', { dateTime: new Date(1000 * event.time).toISOString() }, moment(event.time)),
    make('span', {}, make('i', { ariaHidden: 'true' }), [event.run, event.rank && say('rank {rank}', event), event.text].filter(Boolean).join(' · ')))))
}

// --- charts ----------------------------------------------------------------------------------------------------------

const HEIGHT = 150
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power)
const labelOf = (line, chart) => {
  const { rank, worker, ...others } = line.labels
  const parts = Object.entries(others).map(([name, value]) => name === 'gpu' ? `GPU ${value}` : value)
  if (rank !== undefined && worker === undefined && (view.ranks > 1 || !parts.length)) parts.unshift(`${say('rank')} ${rank}`)
  if (worker !== undefined) parts.push(`${say('worker')} ${worker}`)
  if (chart.names.length > 1) parts.unshift(chart.names_told[line.name])
  return parts.join(' · ') || chart.title
}
const sortedBy = (lines) => lines.sort((a, b) => inOrder(Object.values(a.labels).join(), Object.values(b.labels).join()))

/** Lines of a chart, as [{label, values}]. */
const contents = {
  lines: (chart) => chart.names.flatMap((name) => sortedBy(linesOf(chart.of, name)))
    .map((line) => ({ label: labelOf(line, chart), values: line.values })),
  heat: (chart) => sortedBy(linesOf(chart.of, chart.names[0]).filter((line) => line.labels.rank === view.rank))
    .map((line) => ({ label: labelOf(line, chart), values: line.values })),
  growth: (chart) => {
    const epochs = linesOf('run', 'epoch')[0]?.values ?? []
    const ends = epochs.map((epoch, at) => at > 0 && epoch !== null && epochs[at - 1] !== null && epoch > epochs[at - 1])
    return sortedBy(linesOf('run', 'cuda_growth')).map((line) => ({
      label: labelOf(line, chart), values: line.values.map((value, at) => ends[at] ? value : null),
    })).concat(sortedBy(linesOf('run', 'resident')).map((line) => ({ label: labelOf(line, chart), values: grown(line.values, epochs, ends) })))
      .filter(({ values }) => values.some((value) => value !== null))
  },
}
/** Of one epoch: between two points that are drawn there may be the ends of several. */
const grown = (values, epochs, ends) => {
  let before = -1
  return values.map((value, at) => {
    if (!ends[at] || value === null) return null
    const [since, from] = [epochs[at] - epochs[before], values[before]]
    before = at
    return since > 0 ? (value - from) / since : null
  })
}

const heatmap = (plot) => {
  const { ctx, data } = plot
  const rows = data.length - 1
  const values = data.slice(1).flat().filter((value) => value !== null)
  if (!values.length) return
  const most = Math.max(...values)
  const { left, top, width, height } = plot.bbox
  ctx.save()
  ctx.beginPath()
  ctx.rect(left, top, width, height)
  ctx.clip()
  ctx.fillStyle = css('line-1')
  const times = data[0].map((time) => plot.valToPos(time, 'x', true))
  for (let place = 1; place <= rows; place += 1) {
    for (let at = 1; at < times.length; at += 1) {
      const value = data[place][at]
      if (value === null) continue
      ctx.globalAlpha = 0.08 + 0.92 * value / most
      ctx.fillRect(times[at - 1], top + height * (place - 1) / rows, times[at] - times[at - 1] + 0.5, height / rows - 1)
    }
  }
  ctx.restore()
}

const charts = config.charts.map((chart) => {
  const figure = make('figure', { tabIndex: 0, hidden: true, data: { chart: chart.names[0], kind: chart.kind } })
  const caption = make('figcaption', {}, chart.title, make('small', {}, chart.help))
  const summary = make('p', { className: 'hidden' })
  const place = make('div')
  figure.setAttribute('role', 'group')
  figure.setAttribute('aria-label', chart.title)
  figure.append(caption, place, summary)
  $('charts').append(figure)
  return { ...chart, figure, place, summary, plot: null, key: '' }
})

const options = (chart, lines) => {
  const heat = chart.kind === 'heat'
  const colour = (place) => css(`line-${place % 8}`)
  const axis = axisLook()
  return {
    width: Math.max(chart.figure.clientWidth, 200),
    height: heat ? Math.max(60, 22 * lines.length) + 40 : HEIGHT + 40,
    cursor: sharedCursor(() => zoomTo(null)),
    legend: { live: true, isolate: false },
    scales: { x: { time: true }, y: heat ? { range: [0, 1] } : { range: (_, least, most) => bounds(chart, least, most) } },
    axes: [
      { ...axis, space: view.days ? 100 : 70, size: 28, values: (_, splits, __, ___, step) => splits.map((time) => moment(time).slice(0, step < 60 ? undefined : -3)) },
      heat ? { ...axis, size: 70, grid: { show: false }, splits: () => lines.map((_, place) => 1 - (place + 0.5) / lines.length), values: () => lines.map((line) => line.label) }
        : { ...axis, size: 70, ...(chart.unit === 'bytes' ? { incrs: BINARY } : {}), values: (_, splits) => splits.map((value) => shown(value, chart.unit)) },
    ],
    series: [
      { label: say('at'), value: (plot, time) => moment(time || plot.data[0].at(-1)) },
      ...lines.map((line, place) => ({
        label: line.label, stroke: colour(heat ? 1 : place), fill: chart.kind === 'growth' ? colour(place) : undefined, width: 1.5,
        spanGaps: false, points: { show: false }, 
        value: (plot, value, place_, at) => shown(at === null ? plot.data[place_].findLast((one) => one !== null) : value, chart.unit) || '--',
        ...(heat ? { paths: () => null } : chart.kind === 'growth' ? { paths: uPlot.paths.bars({ size: [0.8, 14] }) } : {}),
      })),
    ],
    hooks: {
      setSelect: [selecting(zoomTo)],
      draw: heat ? [heatmap] : [],
    },
  }
}
const bounds = (chart, least, most) => {
  if (chart.most && least !== null) return [0, chart.most]
  if (chart.unit === 'celsius' && least !== null) return [Math.min(20, least), Math.max(100, most)]
  return roomFor(least, most)
}
const zoomTo = (range) => {
  view.zoom = range
  drawAll()
}
/** What is zoomed, else the range chosen; no more than there is. */
const stretch = () => {
  if (view.zoom) return view.zoom
  if (config.fleet && view.last) return [view.last.source.start, view.last.source.end]
  const times = [...past.run.times, ...past.gpus.times]
  const end = Math.max(...times)
  return [Math.max(end - 60 * view.minutes, Math.min(...times, end - 60)), end]
}
const draw = (chart) => {
  const lines = contents[chart.kind](chart)
  const times = past[chart.of].times
  chart.figure.hidden = !lines.length || times.length < 2
  if (chart.figure.hidden) return
  const data = [times, ...lines.map((line) => line.values)]
  const key = JSON.stringify(lines.map((line) => line.label))
  if (chart.key !== key) {
    chart.plot?.destroy()
    chart.plot = new uPlot(options(chart, lines), data, chart.place)
    chart.plot.root.querySelector('canvas').setAttribute('aria-hidden', 'true')
    chart.key = key
  }
  const [min, max] = stretch()
  chart.plot.batch(() => {
    chart.plot.setData(data, false)
    chart.plot.setScale('x', { min, max })
  })
  if (!(chart.plot.cursor.left >= 0)) chart.plot.setLegend({ idx: null })  // without a cursor it tells what is now
  text(chart.summary, lines.slice(0, 8).map(({ label, values }) => {
    const known = values.filter((value) => value !== null)
    if (!known.length) return ''
    const [now, least, most] = [known.at(-1), Math.min(...known), Math.max(...known)].map((value) => shown(value, chart.unit))
    return say('{name}: now {now}, lowest {least}, highest {most}', { name: label, now, least, most })
  }).join('. '))
}
const drawAll = () => {
  $('history').hidden = !config.fleet && charts.every((chart) => chart.figure.hidden) && !past.run.lines.size && !past.gpus.lines.size
  charts.forEach(draw)
  $('history').hidden = !config.fleet && charts.every((chart) => chart.figure.hidden)  // where another time may be chosen
}
const again = () => {
  for (const chart of charts) { chart.plot?.destroy(); chart.plot = null; chart.key = '' }
  drawAll()
}
whenColoursChange(again)
keepWidths(charts, $('charts'))
/** Of a Prometheus another time range is asked for, and stands in the address. */
const range = (seconds, end) => {
  const query = new URLSearchParams(location.search)
  query.set('seconds', seconds)
  if (end) query.set('end', end)
  else query.delete('end')
  history.pushState(null, '', `?${query}`)
  readAddress()
  anew()
}
$('between')?.addEventListener('submit', (event) => {
  event.preventDefault()
  const [start, end] = ['from', 'to'].map((id) => new Date($(id).value) / 1000)
  const wrong = end - start >= SHORTEST && end - start <= LONGEST ? '' : say('Choose five minutes to 92 days.')
  $('to').setCustomValidity(wrong)
  if (!wrong) range(end - start, end)
  else $('to').reportValidity()
})
$('to')?.addEventListener('input', () => $('to').setCustomValidity(''))
const showRange = ({ start, end }) => {
  const days = end - start > 86_000
  if (days !== view.days) {
    view.days = days
    for (const chart of charts) chart.key = ''
  }
  for (const button of $('range').children) button.setAttribute('aria-pressed', String(!view.end && Number(button.dataset.seconds) === view.seconds))
  if ($('between').contains(document.activeElement)) return
  $('from').value = local(start)
  $('to').value = local(end)
}
$('range').addEventListener('click', (event) => {
  const { minutes, seconds } = event.target.closest('button')?.dataset ?? {}
  if (seconds) range(seconds, '')
  if (!minutes) return
  for (const button of $('range').children) button.setAttribute('aria-pressed', String(button.dataset.minutes === minutes))
  Object.assign(view, { minutes: Number(minutes), zoom: null })
  drawAll()
})
$('charts').addEventListener('keydown', (event) => {
  const chart = charts.find(({ figure }) => figure === event.target)
  if (chart?.plot) chartKey(event, chart.plot, stretch(), zoomTo)
})

// --- the connection --------------------------------------------------------------------------------------------------

const PATIENCE = Math.max(15_000, 4000 * config.seconds)
let source = null
let heard = performance.now()
let asked = 0
let retry = 0

const STATES = {
  stale: say('No recent samples: the exporter answers, but has not sampled lately. What you see is old.'),
  lost: say('The exporter does not answer. What you see is old; the page tries again every few seconds.'),
  password: say('The exporter asks for a password. Reload the page to enter it.'),
  crowded: say('Too many pages are open; this one waits for a place.'),
  unreachable: say('Prometheus does not answer as it should. What you see is old; the page tries again every few seconds.'),
}
const state = (name, why = '') => {
  document.body.dataset.state = name
  text($('banner'), [STATES[name], why].filter(Boolean).join(' '))
}
const show = (message) => {
  showRuns(message)
  showRun(message)
  showGpus(message.node)
  $('left-out').hidden = !message.left_out
  text($('left-out'), say('The history has no room for {count} runs; their charts stay empty.', { count: message.left_out }))
  const lines = (message.history.run?.left_out ?? 0) + (message.history.gpus.left_out ?? 0)
  text($('more-lines'), lines ? say('{count} more lines are not drawn.', { count: lines }) : '')
  put($('collectors'), [row('th', [say('collector'), say('samples')], 1), make('tbody', {}, ...message.collectors.map((one) =>
    make('tr', {}, make('th', { scope: 'row' }, one.name), make('td', { className: 'n' }, String(one.samples)))))])
  drawAll()
}
const receive = (message) => {
  heard = performance.now()
  text($('updated'), message.time ? say('updated {time}', { time: `${clock(message.time)}${offset(message.time)}` }) : say('Loading ...'))
  if (!message.fresh) {
    if (message.problem) state('unreachable', message.problem)
    else state('stale')
    return
  }
  state('live')
  if (message.full) Object.assign(past, { run: emptyLines(), gpus: emptyLines() })
  if (message.history.run) merge(past.run, message.history.run)
  merge(past.gpus, message.history.gpus)
  if (config.fleet) showRange(message.source)
  showEvents(message.events, message.full)
  view.last = message
  show(message)
  // a run that nobody chose makes way for a newer one once it has ended, and for any once it is gone
  const first = message.runs[0]
  const newer = first?.alive && first.run !== message.asked && !message.run?.alive
  if (!view.run && (newer || (message.asked && !message.run))) connect()
}
const stream = () => {
  const time = config.fleet ? { seconds: view.seconds, ...(view.end ? { end: view.end } : {}) } : {}
  return `api/v1/events?${new URLSearchParams({ lang: config.language, run: view.run, ...(view.find && { find: view.find }), ...time })}`
}
const connect = () => {
  source?.close()
  clearTimeout(retry)
  asked = performance.now()
  source = new EventSource(stream())
  source.onmessage = (event) => receive(JSON.parse(event.data))
  source.onerror = failed
}
/** EventSource does not tell why; a HEAD of the same does. */
const failed = async () => {
  source.close()
  clearTimeout(retry)
  retry = setTimeout(connect, 3000)
  const began = performance.now()
  const why = await reason()
  if (why && heard < began && !document.hidden) state(why)
}
const reason = async () => {
  try {
    const headers = { Accept: 'text/event-stream' }
    const { status } = await fetch(stream(), { method: 'HEAD', headers, signal: AbortSignal.timeout(PATIENCE) })
    return { 200: '', 401: 'password', 403: 'password', 503: 'crowded' }[status] ?? 'lost'
  } catch {
    return 'lost'
  }
}
/** A network that is gone may tell nothing: neither an error nor that it connects in vain. */
const watch = () => {
  if (document.hidden) return
  const now = performance.now()
  if (now - heard > PATIENCE && ['live', 'stale', 'loading'].includes(document.body.dataset.state)) state('lost')
  if (now - Math.max(heard, asked) > PATIENCE) failed()
}
setInterval(watch, 5000)
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    source.close()
    clearTimeout(retry)
  } else {
    heard = performance.now()
    connect()
  }
})
$('language').addEventListener('click', (event) => {
  const query = new URLSearchParams(location.search)
  query.set('lang', event.currentTarget.hreflang)
  event.currentTarget.href = `?${query}`
})
connect()
