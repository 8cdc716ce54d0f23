"""The settings about players: Google's login, and how much one player or one address may ask for."""

from dataclasses import dataclass

from innkeeper.api.rate_limits import RateLimits
from innkeeper.config import values
from innkeeper.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class PlayerSettings:
    """The second part of ``Settings``."""

    google_jwks: str = setting(
        values.key_set,
        "https://www.googleapis.com/oauth2/v3/certs",
        "URL or FILE",
        "The keys that Google's id tokens are verified with: a JSON Web Key Set. A file keeps an "
        "installation without internet working. Either is read again after an hour, and for a key that "
        "it did not have.",
    )
    google_issuer: str = setting(
        values.url,
        "https://accounts.google.com",
        "URL",
        "Who must have issued an id token, with or without `https://`.",
    )
    lobbies_per_player_hour: int = setting(
        values.whole(0, 1_000_000),
        10,
        "0 to 1000000",
        "Lobbies that one player may create in an hour; local ones do not count. 0: no limit.",
    )
    logins_per_minute: int = setting(
        values.whole(0, 1_000_000),
        600,
        "0 to 1000000",
        "Player logins from one address in a minute. 0: no limit. Behind a proxy set "
        "`--trusted-proxies`, or all players have one address.",
    )
    lobby_calls_per_minute: int = setting(
        values.whole(0, 1_000_000),
        600,
        "0 to 1000000",
        "Calls with a player's token from one address in a minute. 0: no limit.",
    )
    public_reads_per_second: int = setting(
        values.whole(0, 1_000_000),
        100,
        "0 to 1000000",
        "Reads without a token, as lists of lobbies, from one address in a second. 0: no limit.",
    )
    polls_per_second: int = setting(
        values.zero_or(10, 1_000_000),
        1000,
        "0, or 10 to 1000000",
        "Polls of connection info from one address in a second. 0: no limit.",
    )
    developer_calls_per_second: int = setting(
        values.whole(0, 1_000_000),
        0,
        "0 to 1000000",
        "Calls with one organization token in a second, unless it has a limit of its own. 0: no limit.",
        "`0`: no limit",
    )

    def rate_limits(self) -> RateLimits:
        """The limits that the API keeps."""
        return RateLimits(
            logins_per_minute=self.logins_per_minute,
            lobby_calls_per_minute=self.lobby_calls_per_minute,
            public_reads_per_second=self.public_reads_per_second,
            polls_per_second=self.polls_per_second,
            developer_calls_per_second=self.developer_calls_per_second,
        )
