// Gives the maps the height that is left on the screen, so that what stands under them is seen without scrolling: what
// is above and under them is measured, and said to the style sheet as --taken.
import { useLayoutEffect, useRef } from 'preact/hooks';

/**
 * `shown`: what the maps are of. For as long as it is the same, and the width, the room never grows back: words under
 * the map that depend on its size must not move it to and fro.
 */
export function useRoom(shown: string): { current: HTMLDivElement | null } {
  const stage = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const box = stage.current!;
    let width = 0;
    let most = 0;
    const measure = (): void => {
      const all = box.getBoundingClientRect();
      const around = all.height - box.querySelector('.map')!.getBoundingClientRect().height;
      most = all.width === width ? Math.max(most, around) : around;
      width = all.width;
      box.style.setProperty('--taken', `${Math.ceil(all.top + window.scrollY + most)}px`);
    };
    measure();
    const observer = new ResizeObserver(measure);
    // All that stands beside it or beside what holds it, and what is under the maps.
    for (let e: Element | null = box; e && e !== document.documentElement; e = e.parentElement)
      for (const sibling of e.parentElement?.children ?? []) if (sibling !== e) observer.observe(sibling);
    for (const child of box.children) observer.observe(child);
    return () => observer.disconnect();
  }, [shown]);
  return stage;
}
