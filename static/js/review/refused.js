// Answers that were not accepted stay on the screen, over reloads too, until they are dismissed.
export class Refused {
  constructor(list, user, project) {
    this.list = list;
    this.name = `refused ${user} ${project}`;
    this.blank = document.getElementById("refused");
    this.drafts = this.read();
    for (const draft of this.drafts) this.show(draft);
  }

  read() {
    try {
      return JSON.parse(localStorage.getItem(this.name)) ?? [];
    } catch {
      return [];
    }
  }

  write() {
    try {
      localStorage.setItem(this.name, JSON.stringify(this.drafts));
    } catch {
      // It is on the screen all the same.
    }
  }

  add(draft) {
    this.drafts.push(draft);
    this.write();
    this.show(draft);
  }

  show(draft) {
    const element = this.blank.content.firstElementChild.cloneNode(true);
    element.querySelector("[data-sentence]").textContent = draft.sentence;
    element.querySelector("[data-draft]").textContent = [
      draft.words && `“${draft.words}”`,
      draft.said && `You had said: ${draft.said}.`,
      draft.note && `Your note: ${draft.note}`,
    ].filter(Boolean).join(" ");
    element.querySelector("[data-dismiss]").addEventListener("click", () => {
      this.drafts = this.drafts.filter((other) => other !== draft);
      this.write();
      element.remove();
    });
    this.list.append(element);
  }
}
