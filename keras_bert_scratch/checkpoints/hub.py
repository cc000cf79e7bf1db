"""Uploads of folders to the Hugging Face hub, by huggingface_hub's own client."""

from pathlib import Path


def upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str,
) -> str:
    """Uploads the files of a folder in one commit.

    Args:
        folder: The folder.
        repo_id: Id of the model on the hub, `"name"` or `"owner/name"`; made if there is none.
        private: Whether only its owner may read it; None keeps what it is, and makes a new one as
            the owner's settings on the hub say.
        token: A token that may write; by default the one of `hf auth login`.
        commit_message: What the commit says.

    Returns:
        The address of the commit.

    Raises:
        PermissionError: If the hub refuses the token.
        ValueError: If the id is none, or the model is there and not as private as asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token, library_name="keras_bert_scratch")
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        found = None if private is None else bool(api.model_info(repo_id).private)
        if found != private:
            raise ValueError(
                f"{repo_id} is on the hub already and {'private' if found else 'public'}, received "
                f"private={private}: change its visibility there, or leave private out."
            )
        return api.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=commit_message
        ).commit_url
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise PermissionError(
            f"The hub refused to write {repo_id}: log in with `hf auth login`, or pass token= of "
            "an account that may write there."
        ) from error
