// Names and tab stops that the theme leaves out: what scrolls must be reachable by keyboard, and no two
// landmarks have the same name.
function complete() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
  for (const element of document.querySelectorAll('pre > code, .md-typeset__scrollwrap, math[display="block"]'))
    element.setAttribute("tabindex", "0")
  document
    .querySelectorAll(".md-code__nav")
    .forEach((element, i) => element.setAttribute("aria-label", `Code ${i + 1}`))
  const count = {}
  for (const nav of document.querySelectorAll("nav[aria-label]")) {
    const name = (nav.dataset.name ??= nav.getAttribute("aria-label"))
    const number = (count[name.toLowerCase()] = (count[name.toLowerCase()] ?? 0) + 1)
    if (number > 1) nav.setAttribute("aria-label", `${name} ${number}`)
  }
}
complete()
new MutationObserver(complete).observe(document.body, { childList: true, subtree: true })
