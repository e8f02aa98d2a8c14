// Buttons inside a piece of the page: which one was pressed is told by the event 'pressed'.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && element.contains(button) && !button.disabled) trigger("pressed", { ...button.dataset });
});
