import { chooseLanguage, LANGUAGES, language, t } from "../i18n";

export function LanguageSwitch() {
  return (
    <div class="language-switch" role="group" aria-label={t("language.label")}>
      {LANGUAGES.map((each) => (
        <button
          key={each}
          type="button"
          lang={each}
          aria-pressed={language.value === each}
          aria-label={`${each.toUpperCase()}, ${t(`language.${each}`, { lng: each })}`}
          onClick={() => chooseLanguage(each)}
        >
          {each.toUpperCase()}
        </button>
      ))}
    </div>
  );
}
