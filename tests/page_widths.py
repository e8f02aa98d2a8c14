"""What is asked of pages in a browser about their width."""

#: Whether a page is no wider than the window.
NO_SIDEWAYS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
#: The texts that are cut off or outside the window, of those that nobody can scroll to.
CUT = """() => [...document.querySelectorAll("td, th, p, dd, dt, figcaption, h1, h2, h3, summary, label")]
  .filter((one) => one.checkVisibility() && !one.closest(".hide, [hidden]"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.scrollWidth > one.clientWidth + 1)
  .filter((one) => getComputedStyle(one).display !== "inline" && !one.closest(".settings, .chart"))
  .filter((one) => !one.closest(".wide") || one.closest(".wide").scrollWidth <= one.closest(".wide").clientWidth)
  .map((one) => one.textContent.trim().slice(0, 60))"""
#: The tables that are wider than their place, settings apart, which are paths and hashes.
SCROLLING = """() => [...document.querySelectorAll(".wide")]
  .filter((one) => one.checkVisibility() && !one.querySelector(".settings") && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.getAttribute("aria-label"))"""
