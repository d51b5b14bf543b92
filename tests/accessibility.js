// What of a page cannot be read: arguments[0] is "contrast" or "clipped". Returns a list of texts, empty where all is well.
const texts = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, holder = node.parentElement, range = document.createRange();
  if (!node.data.trim() || holder.closest("option, style")) continue;
  range.selectNodeContents(node);
  const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
  if (boxes.length && holder.checkVisibility({visibilityProperty: true})) texts.push({node, holder, boxes});
}

function channels(colour) {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
  return {rgb: [red, green, blue], alpha: alpha / 255};
}

function over(top, below) {
  return top.rgb.map((value, n) => value * top.alpha + below[n] * (1 - top.alpha));
}

function ground(element) {
  const layers = [];
  for (let each = element; each; each = each.parentElement) layers.push(channels(getComputedStyle(each).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
}

// https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
function luminance(rgb) {
  const [red, green, blue] = rgb.map((value) => value / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function ratio(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function contrast() {
  const found = [];
  for (const {node, holder} of texts) {
    const style = getComputedStyle(holder), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const colour = channels(holder.namespaceURI.endsWith("svg") ? style.fill : style.color), below = ground(holder);
    const measured = ratio(over(colour, below), below);
    if (measured < (large ? 3 : 4.5)) found.push(`${node.data.trim()}: ${measured.toFixed(2)}`);
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, button")) {
    const measured = ratio(channels(getComputedStyle(field).borderTopColor).rgb, ground(field.parentElement));
    if (field.placeholder) {
      const hint = ratio(channels(getComputedStyle(field, "::placeholder").color).rgb, ground(field));
      if (hint < 4.5) found.push(`${field.placeholder}: ${hint.toFixed(2)}`);
    }
    if (field.type !== "checkbox" && measured < 3) found.push(`edge of ${field.name || field.type}: ${measured.toFixed(2)}`);
  }
  return found;
}

function clipped() {
  const found = [], width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const {node, holder, boxes} of texts) {
    if (holder.matches(".skip")) continue;
    for (const box of boxes) if (box.left < -0.5 || box.right > width + 0.5) found.push(`${node.data.trim()} sticks out`);
  }
  for (const each of document.querySelectorAll("body *")) {
    if (each.scrollWidth > each.clientWidth + 1 && each.clientWidth && getComputedStyle(each).overflowX !== "visible")
      found.push(`${each.tagName} ${each.name || each.className} hides a part of it`);
  }
  // Texts that are side by side have a gap, those of one line of words apart.
  const labels = texts.flatMap(({node, holder, boxes}) => boxes.map((box) => ({text: node.data.trim(), holder, box})));
  for (const [n, one] of labels.entries()) {
    for (const other of labels.slice(n + 1)) {
      const apart = Math.max(one.box.left - other.box.right, other.box.left - one.box.right);
      const level = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      const places = "td, th, li, text, label, nav a, .name, .value";
      const cells = one.holder.closest(places) !== other.holder.closest(places);
      if (level > 3 && (apart < -1 || (apart < 3 && cells))) found.push(`${one.text} and ${other.text} run together`);
    }
  }
  return found;
}

return {contrast, clipped}[arguments[0]]();
