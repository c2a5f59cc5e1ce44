//! What a refusal says in German.

use super::Refusal;

/// The sentence for whoever is in front of the page. What only programs ask wrong is not told in detail: `Refusal` itself
/// says that, in English.
pub(super) fn sentence(refusal: &Refusal) -> String {
    let fixed = match refusal {
        Refusal::TooManyGuesses(seconds) => {
            return format!(
                "Von hier kamen zu viele falsche Schlüssel oder Passwörter. Versuchen Sie es in {seconds} Sekunden wieder."
            );
        }
        Refusal::PathTooLong(bytes) => return format!("Die Adresse ist länger als {bytes} Bytes."),
        Refusal::TooLarge(bytes) => {
            return format!("Das ist größer als die {bytes} Bytes, die hier erlaubt sind.");
        }
        Refusal::UnknownMethod(method) => return format!("Die Methode {method} ist hier nicht bekannt."),
        Refusal::GrainFailed(why) => return format!("Das ließ sich nicht öffnen: {why}"),
        Refusal::UploadFailed(why) => return format!("Das Hochladen ist gescheitert: {why}"),
        Refusal::AppFailed(why) => return format!("Die App ist gescheitert: {why}"),
        Refusal::BadRequest(_) => "Diese Anfrage ist nicht zu verstehen.",
        Refusal::NoSuchHost => "Eine Website mit diesem Namen gibt es hier nicht.",
        Refusal::NotFound => "Unter dieser Adresse ist nichts.",
        Refusal::PageClosed => "Diese Seite ist geschlossen. Öffnen Sie sie in Percloud noch einmal.",
        Refusal::LinkUsed => {
            "Diese Seite wurde schon geöffnet, oder der Verweis auf sie ist zu alt. Öffnen Sie sie in Percloud noch einmal."
        }
        Refusal::SignedOut => "Melden Sie sich zuerst an.",
        Refusal::NoSuchToken => "Dieser Schlüssel oder dieses Passwort gilt hier nicht, oder nicht mehr.",
        Refusal::TokenMissing => "Hier ist ein Schlüssel oder ein Passwort nötig.",
        Refusal::CrossSite => "Diese Anfrage kam von einer anderen Website und wurde abgelehnt.",
        Refusal::ServiceWorker => "Apps dürfen keine Service Worker einrichten.",
        Refusal::NotXml => "Diese Adresse nimmt nur XML-Dokumente an.",
        Refusal::NotOffered => "Die App versteht diese Art von Anfrage nicht.",
        Refusal::ForeignDestination => {
            "Eine Datei lässt sich nur innerhalb einer Sitzung kopieren oder verschieben."
        }
        Refusal::TooSlow => "Zu lange kam nichts mehr von der Anfrage.",
        Refusal::Aborted => "Das Hochladen wurde abgebrochen.",
        Refusal::AppGone => {
            "Die App endete, während sie antwortete. Laden Sie die Seite neu, dann startet sie wieder."
        }
        Refusal::AppSilent => "Die App hat nicht rechtzeitig geantwortet.",
        Refusal::AppAnswer(_) => "Die Antwort der App war nicht zu verstehen.",
        Refusal::AnswerLost => {
            "Die App hat geantwortet, aber für ihre Antwort ist kein Platz. Sehen Sie nach, ob sie getan hat, was Sie wollten, bevor Sie es noch einmal versuchen."
        }
        Refusal::Overloaded => "Die App ist beschäftigt. Versuchen Sie es gleich noch einmal.",
        Refusal::Crowded(_) => {
            "Auf dieser Seite ist zu viel auf einmal im Gang. Versuchen Sie es gleich noch einmal."
        }
        Refusal::NoRoomForBodies => {
            "Dieser Server, oder diese Seite darauf, hält schon so viel von dem, was ihm gesendet wird, wie er darf. Versuchen Sie es gleich noch einmal."
        }
        Refusal::NoRoomForSockets => {
            "Dieser Server hat schon so viele WebSockets offen, wie er darf. Versuchen Sie es gleich noch einmal."
        }
        Refusal::Unavailable => "Percloud startet oder hält gerade an. Versuchen Sie es gleich noch einmal.",
    };
    fixed.to_owned()
}
