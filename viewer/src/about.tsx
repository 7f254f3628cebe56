// The last line of every view: what made this page, and the notices of what it is made of.
import { notices } from 'notices';

/** The last line of every view. */
export function About() {
  return (
    <footer>
      <details class="about">
        <summary>About this page and its licences</summary>
        <p>
          Made by Bare Attention, under the Apache License, version 2.0. The page carries code of other packages, whose
          licences follow. Nothing of it asks a network for anything but the server that sent it, where one did.
        </p>
        {notices.map(({ packages, text }) => (
          <section key={packages}>
            <h2>{packages}</h2>
            <pre>{text}</pre>
          </section>
        ))}
      </details>
    </footer>
  );
}
