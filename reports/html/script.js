"use strict";
(() => {
  const root = document.documentElement;
  const stored = (value) => {
    // A page from a disk may be denied storage.
    try { return value ? localStorage.setItem("wi-e2e-theme", value) : localStorage.getItem("wi-e2e-theme"); } catch { return null; }
  };
  if (["dark", "light"].includes(stored())) root.dataset.theme = stored();

  document.addEventListener("DOMContentLoaded", () => {
    const $ = (id) => document.getElementById(id);
    const items = [...document.querySelectorAll(".item")];
    const groups = [...document.querySelectorAll("[data-group]")];
    const chips = [...document.querySelectorAll("[data-filter]")];
    const search = $("search");

    const toggleTheme = () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      stored(root.dataset.theme);
    };

    // The text of a large page is only read once somebody searches.
    let texts;
    const filter = () => {
      const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = chips.filter((c) => c.ariaPressed === "true").map((c) => c.dataset.filter);
      const active = terms.length + wanted.length > 0;
      if (terms.length) texts ??= new Map(items.map((i) => [i, i.textContent.toLowerCase()]));
      let shown = 0;
      for (const i of items) {
        i.hidden = active && (wanted.length > 0 && !wanted.includes(i.dataset.s) || !terms.every((t) => texts.get(i).includes(t)));
        if (!i.hidden) shown++;
      }
      for (const g of groups) {
        g.hidden = active && !g.querySelector(".item:not([hidden])");
        if (g.matches("details")) {
          g.dataset.was ??= g.open;
          g.open = active ? true : g.dataset.was === "true";
          if (!active) delete g.dataset.was;
        }
      }
      $("said").textContent = active ? `${shown} of ${items.length} shown` : "";
      const state = new URLSearchParams();
      if (search.value.trim()) state.set("q", search.value.trim());
      if (wanted.length) state.set("status", wanted.join(","));
      if (active || location.hash.startsWith("#?")) history.replaceState(null, "", "#" + (active ? "?" + state : ""));
    };
    const forget = () => {
      search.value = "";
      for (const c of chips) c.ariaPressed = "false";
      filter();
    };

    // A link leads to its row whatever is folded or filtered.
    const follow = () => {
      if (location.hash.startsWith("#?")) {
        const state = new URLSearchParams(location.hash.slice(2));
        search.value = state.get("q") ?? "";
        const wanted = (state.get("status") ?? "").split(",");
        for (const c of chips) c.ariaPressed = String(wanted.includes(c.dataset.filter));
        return filter();
      }
      let id = location.hash.slice(1);
      try { id = decodeURIComponent(id); } catch { /* then it is taken as it stands */ }
      const target = id && $(id);
      if (!target) return;
      if (target.closest("[hidden]")) forget();
      // Not every browser opens what is around its target by itself.
      for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
      target.scrollIntoView({ block: "start" });
      target.querySelector(":scope > summary")?.focus({ preventScroll: true });
    };

    const rows = () => items.filter((i) => !i.hidden && i.checkVisibility());
    const go = (step, among = () => true) => {
      const all = rows();
      const here = all.indexOf(document.activeElement?.closest(".item"));
      for (let n = here + step; n >= 0 && n < all.length; n += step) {
        if (!among(all[n])) continue;
        const summary = all[n].querySelector("summary");
        summary.focus({ preventScroll: true });
        summary.scrollIntoView({ block: "nearest" });
        return;
      }
    };
    const broke = (i) => ["fail", "error", "flake", "warn"].includes(i.dataset.s);
    const openAll = () => {
      const all = rows(), open = all.some((i) => !i.open);
      for (const i of all) i.open = open;
    };
    const keys = {
      "/": () => search.select(), j: () => go(1), k: () => go(-1), n: () => go(1, broke), x: openAll, t: toggleTheme,
      "?": () => $("help").showModal(), Escape: forget,
    };
    document.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || $("help").open) return;
      if (e.target === search && e.key !== "Escape") return;
      if (!keys[e.key]) return;
      e.preventDefault();
      if (e.key === "Escape") search.blur();
      keys[e.key]();
    });

    search.addEventListener("input", filter);
    $("finder").addEventListener("submit", (e) => { e.preventDefault(); go(1); });
    for (const c of chips) c.addEventListener("click", () => { c.ariaPressed = String(c.ariaPressed !== "true"); filter(); });
    $("theme").addEventListener("click", toggleTheme);
    $("keys").addEventListener("click", () => $("help").showModal());
    $("close").addEventListener("click", () => $("help").close());
    addEventListener("hashchange", follow);
    new ResizeObserver(([e]) => root.style.setProperty("--top", e.target.offsetHeight + "px")).observe(document.querySelector(".top"));
    follow();
    // The browser goes to the fragment itself when all is loaded, and takes the focus away.
    addEventListener("load", () => requestAnimationFrame(follow));
  });
})();
