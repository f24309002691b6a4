"""The text of submissions as the dumps of 2025 have them, with slots for what differs from row to row.

Fields, their order and which of them a kind has are those of the statistics of 2025-12 that Arctic Shift
publishes (github.com/ArthurHeitmann/arctic_shift, schemas/RS/2025/RS_2025-12.ts). A gallery's URLs are not
escaped, all others are.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

Fields = dict[str, Any]

WIDTHS = (108, 216, 320, 640, 960, 1080)
"""What pictures are scaled to."""

# "<name>" is a slot inside a string, "<name=>" one for a value of any type.
_BY_USUAL_VALUE: list[tuple[Any, str]] = [
    (
        None,
        """approved_at_utc approved_by author_flair_background_color author_flair_css_class
        author_flair_template_id author_flair_text author_flair_text_color banned_at_utc banned_by category
        content_categories discussion_type distinguished likes media mod_note mod_reason_by mod_reason_title
        num_reports removal_reason removed_by report_reasons secure_media suggested_sort thumbnail_height
        thumbnail_width top_awarded_type view_count""",
    ),
    (
        False,
        """allow_live_comments archived author_is_blocked author_patreon_flair author_premium can_gild
        can_mod_post clicked contest_mode edited hidden hide_score is_created_from_ads_ui is_meta
        is_original_content is_reddit_media_domain is_self is_video locked media_only pinned quarantine saved
        spoiler stickied visited""",
    ),
    (
        [],
        """all_awardings author_flair_richtext awarders mod_reports treatment_tags
        user_reports""",
    ),
    ({}, "gildings media_embed secure_media_embed"),
    (0, "downs gilded num_crossposts total_awards_received"),
    ("text", "author_flair_type link_flair_type"),
    ("<created=>", "created created_utc"),
    ("<score=>", "score ups"),
    ("<listed=>", "is_crosspostable is_robot_indexable"),
    ("<wls=>", "pwls wls"),
]
_POST: Fields = {
    **{name: value for value, names in _BY_USUAL_VALUE for name in names.split()},
    "author": "<author>",
    "author_fullname": "t2_<fullname>",
    "domain": "<domain>",
    "id": "<id>",
    "link_flair_background_color": "<flair_color>",
    "link_flair_css_class": "",
    "link_flair_richtext": "<flair_parts=>",
    "link_flair_text": "<flair=>",
    "link_flair_text_color": "dark",
    "name": "t3_<id>",
    "no_follow": "<no_follow=>",
    "num_comments": "<comments=>",
    "over_18": "<over_18=>",
    "permalink": "/r/<subreddit>/comments/<id>/<slug>/",
    "removed_by_category": "<removed=>",
    "retrieved_on": "<retrieved=>",
    "selftext": "<text>",
    "send_replies": True,
    "subreddit": "<subreddit>",
    "subreddit_id": "t5_<subreddit_id>",
    "subreddit_name_prefixed": "r/<subreddit>",
    "subreddit_subscribers": "<subscribers=>",
    "subreddit_type": "public",
    "thumbnail": "<thumbnail>",
    "title": "<title>",
    "upvote_ratio": "<ratio=>",
    "url": "<url>",
}
_AD_BY_USUAL_VALUE: list[tuple[Any, str]] = [
    (
        None,
        """ad_business ad_promoted_user_posts ad_user_targeting adserver_click_url adserver_imp_pixel
        app_store_data campaign_id domain_override embed_type embed_url impression_id impression_id_str
        original_link priority_id promo_layout promoted_by promoted_display_name promoted_url
        sk_ad_network_data third_party_tracking third_party_tracking_2""",
    ),
    ([], "events eventsOnRender product_ids third_party_trackers"),
    (False, "is_blank is_survey_ad promoted"),
    (True, "is_created_from_ads_ui show_media"),
    ("<url>", "href_url mobile_ad_url"),
]
_AD: Fields = {
    **{name: value for value, names in _AD_BY_USUAL_VALUE for name in names.split()},
    "ad_supplementary_text_md": "<text>",
    "author_id": "t2_<fullname>",
    "call_to_action": "Learn More",
    "outbound_link": {},
    "post_hint": "link",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a row's fields depend on."""

    kind: str
    hidden: bool = False
    """Its pictures stand there blurred too, as those over 18 do."""
    flair: bool = False
    parent: bool = False
    """It stands inside a crosspost."""
    num_images: int = 0
    num_sizes: int = len(WIDTHS)
    """To how many of the widths its pictures are scaled."""


@dataclass(frozen=True, slots=True)
class Template:
    """A row as bytes to format (``%``) with a mapping: a value for each slot, the hashes as h1, h2, …."""

    text: bytes
    num_hashes: int


@cache
def template(shape: Shape) -> Template:
    """The row of a shape, all but ``_meta``."""
    hashes = _Hashes()
    fields = _POST | _of_kind(shape, hashes)
    if shape.flair:
        fields["link_flair_template_id"] = "<flair_id>"
    if shape.kind == "self":
        fields["is_self"] = True
    else:
        fields["url_overridden_by_dest"] = "<url>"
    if shape.parent:
        del fields["retrieved_on"]
        fields["selftext_html"] = None
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode().replace(b"%", b"%%")
    text = re.sub(rb'"<(\w+)=>"', rb"%(\1)b", text)
    return Template(re.sub(rb"<(\w+)>", rb"%(\1)b", text), hashes.num)


class _Hashes:
    """The slots of a template that take 40 hex digits, each others."""

    def __init__(self) -> None:
        self.num = 0

    def next(self) -> str:
        """The next one."""
        self.num += 1
        return f"<h{self.num}>"


def _of_kind(shape: Shape, hashes: _Hashes) -> Fields:
    """The fields that a kind has besides those of all, or with other values."""
    own, elsewhere = "preview.redd.it/<media>.jpeg", "external-preview.redd.it/<image_id>.jpeg"
    if shape.kind == "image":
        here = {"is_reddit_media_domain": True, "post_hint": "image"}
        return here | _preview(shape, own, hashes)
    if shape.kind == "gallery":
        return _gallery(shape, hashes)
    if shape.kind == "video":
        here = {"is_reddit_media_domain": True, "is_video": True, "post_hint": "hosted:video"}
        return here | _both_media({"reddit_video": _video(hashes)}) | _preview(shape, elsewhere, hashes)
    if shape.kind in ("redgifs", "youtube"):
        player = {"oembed": _player(f"{shape.kind}.com"), "type": f"{shape.kind}.com"}
        return {"post_hint": "rich:video", **_both_media(player)} | _preview(shape, elsewhere, hashes)
    if shape.kind == "crosspost":
        return {"crosspost_parent": "t3_<parent_id>", "crosspost_parent_list": ["<parent=>"]}
    if shape.kind == "ad":
        return _AD | _preview(shape, elsewhere, hashes)
    if shape.num_images:
        return {"post_hint": "link", **_preview(shape, elsewhere, hashes)}
    return {}


def _preview(shape: Shape, address: str, hashes: _Hashes) -> Fields:
    def sizes(blur: str) -> Fields:
        scaled = [
            _size(f"https://{address}?width={width}&amp;crop=smart&amp;{blur}auto=webp", width, hashes)
            for width in WIDTHS[: shape.num_sizes]
        ]
        return {"source": _size(f"https://{address}?{blur}auto=webp", None, hashes), "resolutions": scaled}

    blurred = ("nsfw", "obfuscated") if shape.hidden else ()
    variants = {name: sizes("blur=40&amp;format=pjpg&amp;") for name in blurred}
    return {"preview": {"enabled": True, "images": [{"id": "<image_id>", **sizes(""), "variants": variants}]}}


def _size(url: str, width: int | None, hashes: _Hashes) -> Fields:
    height = f"<y{width or 0}=>"
    return {"url": f"{url}&amp;s={hashes.next()}", "width": width or "<width=>", "height": height}


def _gallery(shape: Shape, hashes: _Hashes) -> Fields:
    def size(name: str, how: str, width: int | None) -> Fields:
        url = f"https://preview.redd.it/{name}.jpg?{how}auto=webp&s={hashes.next()}"
        return {"u": url, "x": width or "<width=>", "y": f"<y{width or 0}=>"}

    def image(name: str) -> Fields:
        widths = WIDTHS[: shape.num_sizes]
        fields = {
            "e": "Image",
            "id": name,
            "m": "image/jpg",
            "status": "valid",
            "p": [size(name, f"width={width}&crop=smart&", width) for width in widths],
            "s": size(name, "width=<width>&format=pjpg&", None),
        }
        blurred = {"o": [size(name, "width=1080&blur=40&format=pjpg&", 1080)]}
        return fields | blurred if shape.hidden else fields

    names = [f"<media>{'abcdefghij'[place]}" for place in range(shape.num_images)]
    return {
        "gallery_data": {"items": [{"id": "<number=>", "media_id": name} for name in names]},
        "is_gallery": True,
        "media_metadata": {name: image(name) for name in names},
    }


def _both_media(content: Fields) -> Fields:
    return {"media": content, "secure_media": content}


def _video(hashes: _Hashes) -> Fields:
    signed = f"a=<number>%2C{hashes.next()}&amp;v=1&amp;f=sd"
    return {
        "bitrate_kbps": 2400,
        "dash_url": f"https://v.redd.it/<media>/DASHPlaylist.mpd?{signed}",
        "duration": "<seconds=>",
        "fallback_url": "https://v.redd.it/<media>/DASH_720.mp4?source=fallback",
        "has_audio": True,
        "height": "<y1080=>",
        "hls_url": f"https://v.redd.it/<media>/HLSPlaylist.m3u8?{signed}",
        "is_gif": False,
        "scrubber_media_url": "https://v.redd.it/<media>/DASH_96.mp4",
        "transcoding_status": "completed",
        "width": 1080,
    }


def _player(host: str) -> Fields:
    return {
        "height": 200,
        "html": f"&lt;iframe src=&quot;https://{host}/embed/<image_id>&quot;&gt;&lt;/iframe&gt;",
        "provider_name": host,
        "provider_url": f"https://{host}/",
        "thumbnail_height": "<y320=>",
        "thumbnail_url": f"https://i.{host}/<image_id>.jpg",
        "thumbnail_width": 320,
        "title": "<title>",
        "type": "video",
        "version": "1.0",
        "width": 356,
    }
