// The minimap: the whole map small, and a frame around what is in view.
import type { Camera } from '../draw/render';
import type { Patch } from '../draw/tiles';

/** The whole map, small. */
export interface Whole {
  image: HTMLCanvasElement; // painted
  patch: Patch; // from this
  n: number; // tokens
}

/** Draws it, and the frame of what is in view. */
export function drawMinimap(canvas: HTMLCanvasElement, whole: Whole, camera: Camera, view: [number, number]): void {
  const c = canvas.getContext('2d');
  if (!c) return;
  const { image, patch, n } = whole;
  const size = canvas.width;
  const covered = (patch.width * patch.cell) / n; // the last block may reach past the text
  c.clearRect(0, 0, size, size);
  c.imageSmoothingEnabled = patch.width > size; // blocks of a short text are squares
  c.drawImage(image, 0, 0, size * covered, size * covered);
  const k = size / n;
  c.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue('--accent');
  c.lineWidth = Math.max(2, window.devicePixelRatio || 1);
  const [w, h] = view.map((pixels) => Math.min(size, (pixels / camera.scale) * k)) as [number, number];
  c.strokeRect(Math.max(1, camera.x * k), Math.max(1, camera.y * k), Math.max(4, w - 2), Math.max(4, h - 2));
}
