// A sheet to draw on, by mouse, finger or keys.

const SIDE = 512; // pixels of the shorter side; the network's own may be few

export function paper(canvas, { pen, color, changed }) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const before = [];
  let at = { x: 0, y: 0 };
  let down = false;

  function clear() {
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    before.length = 0;
    at = { x: canvas.width / 2, y: canvas.height / 2 };
  }

  function remember() {
    before.push(context.getImageData(0, 0, canvas.width, canvas.height));
    if (before.length > 20) before.shift();
  }

  function lineTo(point) {
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = (Number(pen.value) / 360) * Math.min(canvas.width, canvas.height);
    context.strokeStyle = color.value;
    context.beginPath();
    context.moveTo(at.x, at.y);
    context.lineTo(point.x, point.y);
    context.stroke();
    at = point;
  }

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return { x: x * canvas.width, y: y * canvas.height };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    remember();
    down = true;
    at = place(event);
    lineTo(at);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (down) for (const part of event.getCoalescedEvents?.() ?? [event]) lineTo(place(part));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (down) changed();
      down = false;
    });
  }

  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      event.preventDefault();
      down = !down;
      if (down) remember();
      lineTo(at);
      changed();
    } else if (moves[event.key]) {
      event.preventDefault();
      const step = canvas.width / 64;
      const [dx, dy] = moves[event.key];
      const x = Math.min(canvas.width, Math.max(0, at.x + dx * step));
      const y = Math.min(canvas.height, Math.max(0, at.y + dy * step));
      if (down) {
        lineTo({ x, y });
        changed();
      } else at = { x, y };
    }
  });

  return {
    shape(width, height) {
      const scale = SIDE / Math.min(width, height);
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
      clear();
    },
    clear() {
      clear();
      changed();
    },
    undo() {
      if (!before.length) return;
      context.putImageData(before.pop(), 0, 0);
      changed();
    },
  };
}
