// A site's analytics, in the data format that pfa-flux stands beside: one row when the page can be used, one when all
// of it is loaded. The first has the action "ready", quotes included, and is no page load; the second is one.
(() => {
  const escaped = (text) => text.replace(/[,= ]/g, "\\$&");

  const write = async (action) => {
    const tags = {
      action: `"${action}"`,
      domain: location.host,
      page: location.pathname,
      platform: navigator.platform,
      type: "pageview",
    };
    const series = Object.entries(tags).map(([name, value]) => `,${name}=${escaped(value)}`).join("");
    const body = `pf_analytics_test${series} response_time=${Math.round(performance.now())}i`;
    const answer = await fetch("/analytics", { method: "POST", body, keepalive: true });
    // For whoever looks at the page: what has been written.
    if (answer.status === 204) document.documentElement.dataset.written = action;
  };

  const loaded = new Promise((resolve) => addEventListener("load", resolve));
  const ready = document.readyState === "loading"
    ? new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve))
    : undefined;
  (async () => {
    await ready;
    await write("ready");
    if (document.readyState !== "complete") await loaded;
    await write("load");
  })();
})();
