// Names and tab stops that the theme leaves out: what scrolls must be reachable by keyboard.
function complete() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
  for (const element of document.querySelectorAll("pre > code, .md-typeset__scrollwrap"))
    element.setAttribute("tabindex", "0")
  document
    .querySelectorAll(".md-code__nav")
    .forEach((element, i) => element.setAttribute("aria-label", `Code ${i + 1}`))
}
complete()
new MutationObserver(complete).observe(document.body, { childList: true, subtree: true })
