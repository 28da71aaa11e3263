"""A version described in Croissant JSON-LD (1.0, with the RAI vocabulary), for catalogues and other people's loaders.

Everything said follows from the manifest, so the file is the same bytes at every build; when it was built is not in it.
Specifications: https://docs.mlcommons.org/croissant/docs/croissant-spec.html and …/croissant-rai-spec.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from expedition.data.versions.index import DROPPED, INDEX, INDEX_SCHEMA, STATISTICS, STATISTICS_SCHEMA

CROISSANT = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification gives, word for word."""

_MEMBERS = (
    ("descriptions", "*.json", "application/json", "One JSON object a document: text, inserts, licence, lineage."),
    ("tokens", "*.tokens.npy", "application/octet-stream", "Stored tokens of a document: int32, NumPy format 1.0."),
    ("images", "*.jpg", "image/jpeg", "Pictures of documents."),
    ("images-png", "*.png", "image/png", "Pictures of documents, lossless."),
    ("videos", "*.mjpeg", "video/x-motion-jpeg", "Clips: JPEG frames one after the other, sizes in the description."),
    ("sounds", "*.flac", "audio/flac", "Sound at 16 kHz, one channel."),
)
_TYPES = {"int64": "sc:Integer", "int32": "sc:Integer", "string": "sc:Text"}


def describe(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The Croissant description of a version, from its manifest (with or without its `files`)."""
    name = f"{manifest['dataset']}-{manifest['version']}"
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": name,
        "name": name,
        "conformsTo": list(CONFORMS_TO),
        "description": _description(manifest),
        "identifier": f"sha256:{manifest['content_hash']}",
        "url": f"urn:sha256:{manifest['content_hash']}",
        "version": _semantic(str(manifest["version"])),
        "license": _licences(manifest["sources"]),
        "isLiveDataset": False,
        "inLanguage": "und",
        "isBasedOn": [_source(source) for source in manifest["sources"]],
        **_responsible(manifest),
        "distribution": _distribution(manifest),
        "recordSet": [
            _table("documents", INDEX, INDEX_SCHEMA, key="id", what="Where each document lies, with offsets in bytes."),
            _table("statistics", STATISTICS, STATISTICS_SCHEMA, what="Sums by source, kind and language."),
            _texts(),
        ],
    }


def _description(manifest: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{cell['documents']:,} {kind}" for kind, cell in manifest["kinds"].items())
    return (
        f"{manifest['documents']:,} documents ({kinds}), {manifest['tokens']:,} stored tokens, in "
        f"{len(manifest['shards'])} WebDataset shards; parent version: {manifest['parent'] or 'none'}. "
        f"Built by expedition {manifest['code_version']} with seed {manifest['seed']}; "
        f"tokenizer {manifest['tokenizer_fingerprint']}."
    )


def _semantic(version: str) -> str:
    """`v0.2` as the MAJOR.MINOR.PATCH that the specification asks for; other names stay."""
    parts = version.removeprefix("v").split(".")
    return ".".join([*parts, "0", "0"][:3]) if all(part.isdigit() for part in parts) and len(parts) <= 3 else version


def _licences(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({str(source.get("licence") or "unknown") for source in sources}) or ["unknown"]


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "sc:CreativeWork",
        "name": str(source["name"]),
        "license": str(source.get("licence") or "unknown"),
        "description": (
            f"{source['documents']:,} documents and {source['tokens']:,} tokens; used under approval "
            f"{source.get('approval_id')}, policy {source.get('policy') or 'unknown'}"
        ),
    }


def _responsible(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """RAI fields: how data was collected and cleaned, and what was done about personal data."""
    stages: Mapping[str, list[str]] = manifest["stages"]
    sources = manifest["sources"]
    policies = sorted({f"{source['name']}: {source.get('policy') or 'unknown'}" for source in sources})
    redacted = sorted(kind for kind, names in stages.items() if "pii" in names)
    disputed = sorted(str(source["name"]) for source in sources if source.get("disputed"))
    limits = [f"licence disputed: {', '.join(disputed)}"] if disputed else []
    limits += [f"known issue {name}" for name in manifest.get("issues", ())]
    return {
        "rai:dataCollection": (
            "Files of named sources, each taken in under a recorded approval that was in force at the time: "
            + (", ".join(str(source["name"]) for source in sources) or "none")
        ),
        "rai:dataCollectionType": ["Secondary data analysis"],
        "rai:dataPreprocessingProtocol": [f"{kind}: {', '.join(names)}" for kind, names in sorted(stages.items())],
        "rai:personalSensitiveInformation": [
            "Personal data is looked for and redacted in these kinds of documents: " + (", ".join(redacted) or "none"),
            *(f"approval policy of source {policy}" for policy in policies),
        ],
        "rai:dataUseCases": [f"scope of the approvals: {manifest.get('scope', 'unknown')}"],
        "rai:dataLimitations": limits or ["no known issue was on record when the version was built"],
    }


def _distribution(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    shards = [
        {
            "@type": "cr:FileObject",
            "@id": shard["path"],
            "name": shard["path"],
            "contentUrl": shard["path"],
            "contentSize": f"{shard['bytes']} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard["sha256"],
        }
        for shard in manifest["shards"]
    ]
    tables = [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "encodingFormat": "application/x-parquet",
            "sha256": manifest["tables"][path],
        }
        for path in (INDEX, STATISTICS, DROPPED)
    ]
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": name,
            "name": name,
            "description": what,
            "containedIn": [{"@id": shard["path"]} for shard in manifest["shards"]],
            "encodingFormat": encoding,
            "includes": pattern,
        }
        for name, pattern, encoding, what in _MEMBERS
    ]
    return [*shards, *tables, *(sets if shards else [])]


def _table(name: str, path: str, schema: Any, *, what: str, key: str | None = None) -> dict[str, Any]:
    """A record set over the flat columns of a Parquet file."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{column.name}",
            "name": f"{name}/{column.name}",
            "dataType": _TYPES[str(column.type)],
            "source": {"fileObject": {"@id": path}, "extract": {"column": column.name}},
        }
        for column in schema
        if str(column.type) in _TYPES
    ]
    keyed = {} if key is None else {"key": {"@id": f"{name}/{key}"}}
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": what, **keyed, "field": fields}


def _texts() -> dict[str, Any]:
    """The documents as JSON texts: readers of the format give a member of an archive whole, not its parts."""
    field = {
        "@type": "cr:Field",
        "@id": "texts/json",
        "name": "texts/json",
        "description": "A JSON object with id, kind, source, language, licence, url, text, inserts and lineage.",
        "dataType": "sc:Text",
        "source": {"fileSet": {"@id": "descriptions"}, "extract": {"fileProperty": "content"}},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "texts",
        "name": "texts",
        "description": "The documents themselves; U+FFFC in a text stands for one insert.",
        "field": [field],
    }
