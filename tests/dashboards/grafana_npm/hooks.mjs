// Lets Grafana's own modules run in Node without the rest of its front end: what they import by a package's name is
// found in the packages that the test unpacked, and what needs a browser is left empty, for nothing here calls it.
import { pathToFileURL } from 'node:url'
import path from 'node:path'

let packages = ''
export const initialize = (data) => { packages = data.packages }

const file = (...parts) => pathToFileURL(path.join(packages, ...parts)).href
const inline = (source) => `data:text/javascript,${encodeURIComponent(source)}`

const found = (name) => ({
  lodash: file('lodash-es', 'lodash.js'),
  '@grafana/schema': file('@grafana', 'schema', 'dist', 'esm', 'common', 'common.gen.mjs'),
  '@grafana/i18n': inline('export const t = (id, text) => text'),
  '@grafana/runtime': inline('export const config = { featureToggles: globalThis.featureToggles }'),
  '@grafana/data': inline(`
    export { Registry } from '${file('@grafana', 'data', 'dist', 'esm', 'utils', 'Registry.mjs')}'
    export { escapeRegex } from '${file('@grafana', 'data', 'dist', 'esm', 'text', 'string.mjs')}'
    export const textUtil = {}, dateTime = undefined, urlUtil = {}
    export class BusEventWithPayload {}
  `),
})[name]

export const resolve = (name, context, next) => {
  if (name === '../macros/index.js') return { url: inline('export const macrosIndex = new Map()'), shortCircuit: true }
  const url = found(name)
  return url ? { url, shortCircuit: true } : next(name, context)
}

export const load = (url, context, next) =>
  next(url, url.startsWith('file:') && url.endsWith('.js') ? { ...context, format: 'module' } : context)
