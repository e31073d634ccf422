"""The retrieval part of a RAG chain in LangChain: question -> documents -> prompt, without a language model.

    python examples/langchain_rag.py --index docs "how do plants eat"

Append a chat model (`chain | model`) to generate answers from the passages.
"""

from __future__ import annotations

import argparse
import os

from langchain_core.documents import Document
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough

from connector.integrations.langchain import KSparseVectorStore

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")
PASSAGES = [
    Document("Plants make sugar from light, water and carbon dioxide.", id="photosynthesis", metadata={"lang": "en"}),
    Document("Cats sleep on warm stones.", id="cats", metadata={"lang": "en"}),
    Document("Pflanzen machen Zucker aus Licht.", id="photosynthese", metadata={"lang": "de"}),
]


def numbered(documents: list[Document]) -> str:
    """Format the passages so that an answer can cite them."""
    return "\n".join(f"[{document.id}] {document.page_content}" for document in documents)


def build_chain(store: KSparseVectorStore) -> Runnable[str, PromptValue]:
    """Combine the retriever (hybrid, English passages only) with the prompt."""
    retriever = store.as_retriever(search_kwargs={"k": 2, "hybrid": True, "filter": {"lang": "en"}})
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "Answer from these passages alone, and cite them by their names.\n{context}"),
            ("human", "{question}"),
        ]
    )
    return {"context": retriever | numbered, "question": RunnablePassthrough()} | prompt


def main() -> None:
    """Write the passages and print the prompt for a question."""
    parser = argparse.ArgumentParser(description="Print the prompt of a RAG chain.")
    parser.add_argument("question")
    parser.add_argument("--index", required=True)
    arguments = parser.parse_args()
    store = KSparseVectorStore(arguments.index, url=URL)
    store.add_documents(PASSAGES)
    print(build_chain(store).invoke(arguments.question).to_string())


if __name__ == "__main__":
    main()
