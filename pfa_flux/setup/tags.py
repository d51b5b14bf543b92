"""Tags for the pages: the `<img>`, the script for loads, and the script for page views that an `<img>` misses."""

from __future__ import annotations

from pfa_flux.settings.pixel import PixelSettings, respelled

_VIEWS = """\
<script>
// Page views that the <img> misses: {missed}.
(() => {{
  if (window.pfaViews) return;
  // Keep a reference, so that the browser does not request the <img> again if an app embeds it again. Requests use
  // another spelling, because a request in the same spelling would make the browser forget the image.
  const pixel = window.pfaViews = document.querySelector('img[src="{path}"]') || {{}};
  const view = () => {{
    // If the <img> was blocked, request nothing.
    if (pixel.complete && !pixel.naturalWidth) return;
    for (const path of {paths})
      fetch(path, {{{mode}referrerPolicy: "{policy}", cache: "no-store", credentials: "omit", keepalive: true}})
        .catch(() => {{}});
  }};
  if (document.prerendering) document.addEventListener("prerenderingchange", view, {{once: true}});
{navigations}}})();
</script>"""

_NAVIGATIONS = """\
  addEventListener("pageshow", (event) => event.persisted && view());
  let page = location.pathname;
  const moved = (replaced) => {
    const other = page !== location.pathname;
    page = location.pathname;
    if (other && !replaced) view();
  };
  if (window.navigation) {
    navigation.addEventListener("currententrychange", (event) => moved(event.navigationType === "replace"));
    return;
  }
  for (const name of ["pushState", "replaceState"]) {
    const own = history[name];
    history[name] = function (...given) {
      own.apply(this, given);
      moved(name === "replaceState");
    };
  }
  addEventListener("popstate", () => moved(false));
"""


def image(pixel: PixelSettings, direct: str = "") -> str:
    """The `<img>` of the pages.

    Args:
        pixel: settings of the pixel.
        direct: host of a direct link; empty for a path on the site's own host.
    """
    source, policy = _linked(pixel.path, direct)
    return f'<img src="{source}" referrerpolicy="{policy}" loading="eager" width="1" height="1" alt="">'


def script(pixel: PixelSettings, direct: str = "") -> str:
    """The script that counts JS loads; empty without `load_path`. Arguments as for `image`."""
    if not pixel.load_path:
        return ""
    source, policy = _linked(pixel.load_path, direct)
    made = f'Object.assign(new Image(), {{referrerPolicy: "{policy}", src: "{source}"}})'
    return f"<script>window.pfaLoaded = {made}</script>"


def loads(pixel: PixelSettings, direct: str = "") -> str:
    """The tag that counts JS loads by the settings: a tracker's tag, or the script. Arguments as for `image`."""
    return tracker(pixel, direct) if pixel.loads == "tracker" else script(pixel, direct)


def tracker(pixel: PixelSettings, direct: str = "") -> str:
    """The tag of a tracker that counts JS loads once the tracker has run, instead of `script`."""
    made = script(pixel, direct).removeprefix("<script>").removesuffix("</script>").replace('"', "'")
    return f'<script src="https://tracker.example/t.js" async\n  onload="{made}"></script>'


def views(pixel: PixelSettings, direct: str = "") -> str:
    """The script that counts what the other two miss; it follows them. Arguments as for `image`.

    It requests a hit, and a load if this document has requested one.
    """
    source, policy = _linked(pixel.path, direct)
    hit = _linked(respelled(pixel.path), direct)[0]
    asked = f'["{hit}"]'
    if pixel.load_path:
        asked = f'window.pfaLoaded ? ["{hit}", "{_linked(respelled(pixel.load_path), direct)[0]}"] : {asked}'
    every = pixel.views == "navigations"
    return _VIEWS.format(
        missed="of prerendered pages" + (", of restored pages, and of further pages of an app" if every else ""),
        path=source,
        paths=asked,
        mode='mode: "no-cors", ' if direct else "",
        policy=policy,
        navigations=_NAVIGATIONS if every else "",
    )


def tags(pixel: PixelSettings, direct: str = "") -> str:
    """All tags in order, each on its own lines. Arguments as for `image`."""
    return "\n".join(filter(None, (image(pixel, direct), loads(pixel, direct), views(pixel, direct))))


def _linked(path: str, direct: str) -> tuple[str, str]:
    # Both policies override the page's, if the browser allows it: docs/referrer-policies.md has the table.
    return (f"https://{direct}{path}", "no-referrer-when-downgrade") if direct else (path, "same-origin")
