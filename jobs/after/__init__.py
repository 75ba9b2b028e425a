"""What is done with adapters once their study has ended: judged alone, merged."""
