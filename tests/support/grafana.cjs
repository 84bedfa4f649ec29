// Runs the calls of Grafana's Prometheus data source, the package @grafana/prometheus, against a server.
//
//   node grafana.cjs FOLDER URL KEY        FOLDER has node_modules with the package and @grafana/data
//
// What draws, and what Grafana itself gives a data source, is replaced: its resource calls become requests here.
// Prints one JSON object: "requests" with their statuses, and what each call gave.
const Module = require('node:module');
const [, , folder, url, key] = process.argv;
const NEEDED = /^(\.|\/|node:|@grafana\/(data|schema|prometheus)|@lezer|@prometheus-io|debounce|lodash|rxjs|semver|tslib|uuid)/;
const requests = [];

const standIn = () =>
  new Proxy(function () {}, {
    get: (target, name) => (name === Symbol.toPrimitive ? () => '' : name === 'prototype' ? target.prototype : standIn()),
    apply: standIn,
    construct: () => ({}),
  });

async function request(method, path, data) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(data ?? {})) {
    for (const each of [value].flat()) if (each != null) given.append(name, each);
  }
  const form = method === 'POST';
  const target = `${url}/${path}${form || !given.size ? '' : `?${given}`}`;
  const answer = await fetch(target, { method, body: form ? given : undefined, headers: { 'X-Api-Key': key } });
  const text = await answer.text();
  requests.push({ method, path, given: given.toString(), status: answer.status, error: answer.ok ? '' : text });
  if (!answer.ok) throw Object.assign(new Error(text), { status: answer.status });
  return JSON.parse(text);
}

const runtime = {
  DataSourceWithBackend: class {
    getResource = (path, data) => request('GET', path, data);
    postResource = (path, data) => request('POST', path, data);
  },
  getTemplateSrv: () => ({ replace: (text) => text, getAdhocFilters: () => [], getVariables: () => [] }),
  config: { featureToggles: {} },
  isFetchError: (error) => 'status' in error,
};

const load = Module._load;
Module._load = function (name, parent, ...more) {
  if (name === '@grafana/runtime') return runtime;
  const isOurs = parent?.filename?.includes('@grafana/prometheus') ?? false;
  if (isOurs && !NEEDED.test(name) && !Module.builtinModules.includes(name)) return standIn();
  try {
    return load.call(this, name, parent, ...more);
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return standIn();
    throw error;
  }
};

const { dateTime } = require(`${folder}/node_modules/@grafana/data`);
const { PrometheusDatasource } = require(`${folder}/node_modules/@grafana/prometheus/dist/cjs/datasource.cjs`);

async function main() {
  const found = {};
  for (const httpMethod of ['POST', 'GET']) {
    const settings = { name: 'carbyne', url, access: 'proxy', jsonData: { httpMethod, cacheLevel: 'None' } };
    const source = new PrometheusDatasource(settings);
    const [from, to] = [dateTime().subtract(1, 'hours'), dateTime()];
    const range = { from, to, raw: { from: 'now-1h', to: 'now' } };
    const provider = source.languageProvider;
    await source.init();
    await provider.start(range);
    found.metrics = provider.retrieveMetrics();
    found.labels = await provider.queryLabelKeys(range);
    found.labelsOfOne = await provider.queryLabelKeys(range, '{__name__="up",}');
    found.jobs = await provider.queryLabelValues(range, 'job', '{__name__!=""}');
    found.dotted = await provider.queryLabelValues(range, 'http.status');
    for (const text of ['label_names()', 'label_values(job)', 'label_values(up{job="node"}, instance)', 'metrics(up.*)',
      'query_result(up)', 'up{job="node"}']) {
      found[text] = (await source.metricFindQuery(text, { range })).map((each) => each.text);
    }
    found.tagKeys = (await source.getTagKeys({ timeRange: range, filters: [] })).map((each) => each.text);
    found.tagValues = (await source.getTagValues({ timeRange: range, key: 'job', filters: [] })).map((each) => each.text);
  }
  console.log(JSON.stringify({ requests, found }));
}

main().catch((error) => {
  console.log(JSON.stringify({ requests, error: String(error.stack) }));
});
