// Marks on a picture: boxes and brush strokes, in the picture's own pixels. The server sends the picture and the marks;
// every finished mark is told to it by the event 'marked', a click on what is to be outlined by 'pointed'.
const find = (query) => element.querySelector(query);
const picture = find("[data-picture]"), canvas = find("[data-draw]"), empty = find("[data-empty]");
let width = 0, height = 0, marks = { boxes: [], strokes: [], finds: [] }, order = [], tool = "box", drawn = null;
let finds = []; // what the server found: a box, and its outline as a picture

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
  for (const [x, y, w, h] of all.boxes) {
    for (const [colour, line] of [["#000", 5], ["#fff", 2.5]]) {
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
  paint();
  trigger("marked", { marks: JSON.stringify(marks) });
}

function add(kind, mark) {
  marks[kind].push(mark);
  order.push(kind);
  tell();
}

function show() {
  let state;
  try { state = JSON.parse(props.value || "null"); } catch { state = null; }
  const there = Boolean(state && state.picture);
  picture.hidden = canvas.hidden = !there;
  empty.hidden = there;
  if (!there) { width = height = 0; return; }
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
  for (const [index, most] of [width, height, width, height].entries()) find(`[data-n="${index}"]`).max = most;
  if (picture.src !== state.picture) picture.src = state.picture;
  picture.style.aspectRatio = `${width} / ${height}`;
  requestAnimationFrame(paint);
}

canvas.addEventListener("pointerdown", (event) => {
  if (!width || event.button) return;
  const at = place(event);
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
  if (kind === "boxes" && (mark[2] < 2 || mark[3] < 2)) { paint(); return; } // a click, not a box
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
    tell();
  } else if (button.dataset.act === "back" && order.length) {
    marks[order.pop()].pop();
    tell();
  } else if (button.dataset.act === "add" && width) {
    const numbers = [...element.querySelectorAll("[data-n]")].map((input) => Number(input.value));
    if (numbers[2] > 0 && numbers[3] > 0) add("boxes", numbers);
  }
});
new ResizeObserver(paint).observe(canvas);
watch("value", show);
show();
