// node interpolate.mjs PACKAGES < {toggles, jobs: [{text, variables: {name: {multi, includeAll, value}}}]} > [text]
// Every text with the variables' values put in, by Grafana's own code: scenes' interpolator, Prometheus' escaping.
import { register } from 'node:module'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import path from 'node:path'

const packages = path.resolve(process.argv[2])
const { toggles, jobs } = JSON.parse(readFileSync(0, 'utf8'))
globalThis.featureToggles = toggles
register('./hooks.mjs', import.meta.url, { data: { packages } })
const load = (...parts) => import(pathToFileURL(path.join(packages, '@grafana', ...parts)).href)
const { sceneInterpolator } = await load('scenes', 'dist', 'esm', 'variables', 'interpolation', 'sceneInterpolator.js')
const { interpolateQueryExpr } = await load('prometheus', 'dist', 'esm', 'escaping.mjs')

const scene = (variables) => ({
  state: {
    $variables: {
      getByName: (name) =>
        variables[name] && {
          state: { name, type: 'query', isMulti: variables[name].multi, includeAll: variables[name].includeAll },
          getValue: () => variables[name].value,
        },
    },
  },
})
const done = jobs.map(({ text, variables }) => sceneInterpolator(scene(variables), text, undefined, interpolateQueryExpr))
process.stdout.write(JSON.stringify(done))
