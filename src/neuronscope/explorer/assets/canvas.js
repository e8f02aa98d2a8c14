// Marks on a picture: boxes and brush strokes, in the picture's own pixels. The server sends the picture and the marks;
// every finished mark is told to it by the event 'marked', a click on what is to be outlined by 'pointed'.
const find = (query) => element.querySelector(query);
const picture = find("[data-picture]"), canvas = find("[data-draw]"), empty = find("[data-empty]");
let width = 0, height = 0, marks = { boxes: [], strokes: [], finds: [] }, order = [], tool = "box", drawn = null;
let finds = []; // what the server found: a box, and its outline as a picture
let chosen = -1; // the box that keys and numbers change; -1: none, and numbers make a new one
let later = 0; // a timer: keys that are held down are told once
const numbers = [...element.querySelectorAll("[data-n]")];

const radius = () => Number(find("[data-size]").value) * Math.max(width, height) / 200;
const scale = () => canvas.clientWidth / width;

function paint() {
  if (!width || !canvas.clientWidth) return;
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * dpr);
  canvas.height = Math.round(canvas.clientHeight * dpr);
  const pen = canvas.getContext("2d");
  pen.scale(dpr * scale(), dpr * scale());
  pen.lineCap = pen.lineJoin = "round";
  pen.globalAlpha = 1;
  const found = marks.finds.map((number) => finds[number]).filter(Boolean);
  for (const { outline } of found) if (outline) pen.drawImage(outline, 0, 0, width, height);
  const all = { boxes: [...marks.boxes, ...found.map((one) => one.box)], strokes: [...marks.strokes] };
  if (drawn) all[drawn.kind].push(drawn.mark);
  for (const stroke of all.strokes) {
    pen.strokeStyle = "rgba(255, 140, 0, 0.55)";
    pen.lineWidth = 2 * stroke.radius;
    pen.beginPath();
    pen.moveTo(...stroke.points[0]);
    for (const point of stroke.points) pen.lineTo(...point);
    pen.stroke();
  }
  for (const [number, [x, y, w, h]] of all.boxes.entries()) {
    const worked = number === chosen && !drawn && all.boxes.length > 1;
    for (const [colour, line] of [["#000", 5], [worked ? "#ffd24a" : "#fff", 2.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line / scale();
      pen.strokeRect(x, y, w, h);
    }
  }
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  const clamp = (value, most) => Math.round(Math.min(Math.max(value, 0), most) * 10) / 10;
  return [clamp((event.clientX - box.left) / scale(), width), clamp((event.clientY - box.top) / scale(), height)];
}

function tell() {
  clearTimeout(later);
  later = 0;
  number();
  paint();
  trigger("marked", { marks: JSON.stringify(marks) });
}

function number() { // the fields say what the chosen box is, but not over what is being typed
  for (const [index, field] of numbers.entries()) {
    const value = marks.boxes[chosen]?.[index];
    if (document.activeElement !== field || value !== undefined) field.value = value ?? "";
  }
}

function add(kind, mark) {
  marks[kind].push(mark);
  order.push(kind);
  if (kind === "boxes") chosen = marks.boxes.length - 1;
  tell();
}

function remove(kind, index) {
  marks[kind].splice(index, 1);
  order.splice(order.lastIndexOf(kind), 1);
  chosen = Math.min(chosen, marks.boxes.length - 1);
  tell();
}

function typed() { // a number is done: of the chosen box, or the last one of a new box
  if (!width || numbers.some((field) => field.value === "")) return;
  const box = numbers.map((field) => Number(field.value));
  if (!(box[2] > 0 && box[3] > 0)) return;
  if (chosen < 0) { add("boxes", box); return; }
  if (marks.boxes[chosen].every((value, index) => value === box[index])) return;
  marks.boxes[chosen] = box;
  tell();
}

function key(event) {
  if (!width || event.ctrlKey || event.metaKey) return;
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const removes = event.key === "Delete" || event.key === "Backspace";
  if (!way && !removes && event.key.toLowerCase() !== "n" && event.key !== "Enter") return;
  event.preventDefault();
  if (removes) { if (chosen >= 0) remove("boxes", chosen); return; }
  if (event.key.toLowerCase() === "n" || chosen < 0) { // a new box in the middle
    add("boxes", [width / 4, height / 4, width / 2, height / 2].map(Math.round));
    return;
  }
  if (!way) return;
  const step = event.altKey ? 1 : Math.max(1, Math.round(Math.max(width, height) / 64));
  const box = marks.boxes[chosen], first = event.shiftKey ? 2 : 0;
  for (const axis of [0, 1]) {
    const most = [width, height][axis], from = event.shiftKey ? box[axis] : 0, least = event.shiftKey ? 1 : 0;
    const room = event.shiftKey ? most - from : Math.max(0, most - box[2 + axis]);
    if (way[axis]) box[first + axis] = Math.min(Math.max(box[first + axis] + way[axis] * step, least), room);
  }
  number();
  paint();
  clearTimeout(later);
  later = setTimeout(tell, 200);
  find("[data-told]").textContent = `box at ${box[0]}, ${box[1]}, ${box[2]} wide, ${box[3]} high`;
}

function at_of([x, y]) { // the smallest box there
  const inside = marks.boxes.map((box, index) => [box[2] * box[3], index, box])
    .filter(([, , [left, top, w, h]]) => x >= left && x <= left + w && y >= top && y <= top + h);
  return inside.length ? inside.sort((a, b) => a[0] - b[0])[0][1] : -1;
}

function show() {
  let state;
  try { state = JSON.parse(props.value || "null"); } catch { state = null; }
  const there = Boolean(state && state.picture);
  picture.hidden = canvas.hidden = !there;
  empty.hidden = there;
  if (!there) { width = height = 0; chosen = -1; number(); return; }
  clearTimeout(later);
  [width, height] = [state.width, state.height];
  marks = state.marks;
  finds = state.finds.map(({ box, outline }) => {
    if (!outline) return { box };
    const laid = new Image();
    laid.onload = paint;
    laid.src = outline;
    return { box, outline: laid };
  });
  find('[data-tool="point"]').hidden = !state.clicks;
  order = ["boxes", "strokes", "finds"].flatMap((kind) => marks[kind].map(() => kind));
  drawn = null;
  chosen = marks.boxes.length - 1;
  for (const [index, most] of [width, height, width, height].entries()) numbers[index].max = most;
  number();
  if (picture.src !== state.picture) picture.src = state.picture;
  picture.style.aspectRatio = `${width} / ${height}`;
  requestAnimationFrame(paint);
}

canvas.addEventListener("pointerdown", (event) => {
  if (!width || event.button) return;
  const at = place(event);
  canvas.focus({ preventScroll: true });
  if (tool === "point") {
    trigger("pointed", { x: at[0], y: at[1] });
    event.preventDefault();
    return;
  }
  canvas.setPointerCapture(event.pointerId);
  drawn = tool === "box" ? { kind: "boxes", mark: [...at, 0, 0], from: at }
    : { kind: "strokes", mark: { radius: radius(), points: [at] } };
  event.preventDefault();
  paint();
});
canvas.addEventListener("pointermove", (event) => {
  if (!drawn) return;
  const at = place(event);
  if (drawn.kind === "boxes") {
    const [x, y] = drawn.from;
    drawn.mark = [Math.min(x, at[0]), Math.min(y, at[1]), Math.abs(at[0] - x), Math.abs(at[1] - y)];
  } else {
    drawn.mark.points.push(at);
  }
  paint();
});
canvas.addEventListener("pointerup", () => {
  if (!drawn) return;
  const { kind, mark } = drawn;
  drawn = null;
  if (kind === "boxes" && (mark[2] < 2 || mark[3] < 2)) { // a click, not a box
    const there = at_of([mark[0], mark[1]]);
    if (there >= 0) { chosen = there; number(); }
    paint();
    return;
  }
  add(kind, mark);
});
canvas.addEventListener("pointercancel", () => { drawn = null; paint(); });

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !element.contains(button)) return;
  if (button.dataset.tool) {
    tool = button.dataset.tool;
    for (const other of element.querySelectorAll("[data-tool]")) other.setAttribute("aria-pressed", String(other === button));
  } else if (button.dataset.act === "clear") {
    marks = { boxes: [], strokes: [], finds: [] };
    order = [];
    chosen = -1;
    tell();
  } else if (button.dataset.act === "back" && order.length) {
    const kind = order.at(-1);
    remove(kind, marks[kind].length - 1);
  } else if (button.dataset.act === "new") {
    chosen = -1;
    for (const field of numbers) field.value = "";
    numbers[0].focus();
    paint();
  }
});
canvas.addEventListener("keydown", key);
canvas.addEventListener("blur", () => { if (later) tell(); });
for (const field of numbers) field.addEventListener("change", typed);
new ResizeObserver(paint).observe(canvas);
watch("value", show);
show();
